"""A group of five people, and a thermometer."""

from __future__ import annotations

from clients.demo.scene import Scene, expect, next_event, text_of

TITLE = "주말 등산 모임"
READING = "21.5 °C 맑음".encode()
OTHERS = (("sora", "박소라"), ("jiho", "최지호"), ("minseo", "정민서"))
ALL_FIVE = ("haneul", "bada", *(name for name, _ in OTHERS))


def group(scene: Scene) -> str:
    """The first opens a group of five people and brings a thermometer into it; all five join."""
    haneul = scene["haneul"]
    for name, display_name in OTHERS:
        scene.connect(scene.register(name, display_name))
    thermometer = haneul.api.create_device("산장 온도계", device=f"dev-thermo-{scene.suffix}")
    handles = [scene[name].handle for name in ALL_FIVE[1:]]
    chat = haneul.api.create_chat("group", [*handles, thermometer.id], title=TITLE)
    expect(chat.title == TITLE, f"the title became {chat.title!r}")
    for name in ALL_FIVE:
        scene[name].online.join(chat.id, cursor=0)
    members = haneul.api.members(chat.id).items
    expect(len(members) == 6, f"five people and a thermometer are 6 members, not {len(members)}")
    scene.device(thermometer.id, thermometer.secret or "")
    scene.chats["group"] = chat.id
    return f"{TITLE}: 5 people and {thermometer.id}"


def reading(scene: Scene) -> str:
    """The thermometer publishes plain bytes with MQTT 3.1.1; all five get its reading."""
    chat, thermometer = scene.chats["group"], scene.devices[0]
    scene.say(f"{thermometer.device} → {READING!r} (plain bytes, MQTT 3.1.1)")
    thermometer.publish_reading(chat, READING)
    got = [next_event(scene[name], chat) for name in ALL_FIVE]
    for name, event in zip(ALL_FIVE, got, strict=True):
        scene.say(f"{scene[name].name} ← {text_of(event)}  (seq {event.seq})")
        expect(event.sender == thermometer.device, f"{name} got something from {event.sender}")
        expect(event.body is not None and event.body.data == READING.decode(), f"{name} got another reading")
    expect(len({(event.id, event.seq) for event in got}) == 1, "they did not get the same event")
    scene.events["reading"] = got[0]
    return f"{got[0].body.data if got[0].body else ''} reached {len(got)} people as seq {got[0].seq}"
