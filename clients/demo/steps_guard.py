"""An outsider who gets nowhere, and the history of those who belong."""

from __future__ import annotations

from datetime import datetime

from chat.envelopes import Event
from clients.demo.scene import Scene, Unexpected, expect, text_of, until
from clients.demo.steps_away import MISSED
from clients.python import ApiError, JoinRefused, SendRefused
from clients.python.records import HistoryEvent

NOT_AUTHORIZED = 0x87


def outsider(scene: Scene) -> str:
    """Somebody registers and connects who is in none of the chats."""
    stranger = scene.register("stranger", "나그네")
    scene.connect(stranger)
    return stranger.handle


def cannot_subscribe(scene: Scene) -> str:
    """The SUBACK refuses them."""
    for chat in scene.chats.values():
        try:
            scene["stranger"].online.join(chat)
        except JoinRefused as refused:
            expect((refused.reason_code or 0) >= 0x80, f"refused only afterwards: {refused.code}")
        else:
            raise Unexpected("the subscription was granted")
    return "SUBACK: refused, for both chats"


def cannot_publish(scene: Scene) -> str:
    """The PUBACK says 0x87, not authorized, and nothing is stored."""
    direct, haneul = scene.chats["direct"], scene["haneul"]
    before = haneul.api.history(direct).items
    try:
        scene["stranger"].online.send(direct, text="들여보내 주세요")
    except SendRefused as refused:
        expect(refused.reason_code == NOT_AUTHORIZED, f"refused with {refused.reason_code}, not with 0x87")
    else:
        raise Unexpected("the message was taken")
    expect(len(haneul.api.history(direct).items) == len(before), "it was refused, and stored")
    return "PUBACK 0x87, nothing stored"


def cannot_read(scene: Scene) -> str:
    """The history answers as if there were no such chat."""
    answers = []
    for chat in (*scene.chats.values(), "g-there-is-none"):
        try:
            scene["stranger"].api.history(chat)
        except ApiError as error:
            expect(error.status == 404, f"status {error.status} instead of 404")
            answers.append((error.status, error.code, error.detail))
        else:
            raise Unexpected("the history was shown")
    expect(len(set(answers)) == 1, "the answer tells whether the chat exists")
    return f"404 {answers[0][1]}"


def history(scene: Scene) -> str:
    """History over REST shows all of it, with status, delivered_at and seen_at."""
    direct = scene.chats["direct"]
    expected = [scene.events["greeting"], *(scene.events[f"missed{number}"] for number in range(len(MISSED)))]

    def look() -> list[HistoryEvent]:
        return scene["haneul"].api.history(direct).items

    until(lambda: all(item.status == "SEEN" for item in look()), "not everything became SEEN")
    items = look()
    expect([_plain(item) for item in items] == [_plain(event) for event in expected], "it is not what was sent")
    for item in items:
        times = f"delivered {_clock(item.delivered_at)}, seen {_clock(item.seen_at)}"
        scene.say(f"seq {item.seq}  {item.status}  {times}  {text_of(item)}")
        in_time = item.delivered_at is not None and item.seen_at is not None
        expect(in_time, f"seq {item.seq} has no delivered_at or no seen_at")
    (reading,) = scene["sora"].api.history(scene.chats["group"]).items
    expect(_plain(reading) == _plain(scene.events["reading"]), "the reading is not what was published")
    expect(reading.status == "DELIVERED", f"the reading, which nobody has looked at, is {reading.status}")
    expect(reading.delivered_at is not None and reading.seen_at is None, "the reading's times are wrong")
    return f"{len(items)} messages SEEN, the reading DELIVERED"


def _plain(event: Event) -> tuple[object, ...]:
    return event.id, event.seq, event.n, event.sender, event.body


def _clock(at: datetime | None) -> str:
    return at.strftime("%H:%M:%S.%f")[:-3] if at else "never"
