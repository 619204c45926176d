"""Two people and a 1:1 chat."""

from __future__ import annotations

from clients.demo.scene import Scene, Unexpected, expect, marks, next_event, text_of

GREETING = "안녕하세요, 바다 씨! 파발이 도착했나요? 🐎"


def register(scene: Scene) -> str:
    """Two users register over REST."""
    pair = scene.register("haneul", "김하늘"), scene.register("bada", "이바다")
    for person in pair:
        me = person.api.me()
        expect(
            (me.id, me.display_name) == (person.handle, person.name), f"registered {person.handle}, but I am {me.id}"
        )
    return " and ".join(person.handle for person in pair)


def open_chat(scene: Scene) -> str:
    """They open a 1:1 chat: one of them does, and both have it."""
    haneul, bada = scene["haneul"], scene["bada"]
    chat = haneul.api.create_chat("direct", [bada.handle])
    again = bada.api.create_chat("direct", [haneul.handle])
    expect(chat.id == again.id, "a pair has one chat, but each of the two got another one")
    people = {member.user for member in bada.api.members(chat.id).items}
    expect(people == {haneul.handle, bada.handle}, f"its members are {sorted(people)}")
    scene.chats["direct"] = chat.id
    return chat.id


def connect(scene: Scene) -> str:
    """Both connect over MQTT 5 and join the chat."""
    for person in (scene["haneul"], scene["bada"]):
        scene.connect(person).join(scene.chats["direct"], cursor=0)
        scene.say(f"{person.name} is connected as {person.online.client_id}")
    return f"{scene.stack['mqtt_host']}:{scene.stack['mqtt_port']}"


def first_text(scene: Scene) -> str:
    """The first sends 한국어, the second gets it."""
    haneul, bada, chat = scene["haneul"], scene["bada"], scene.chats["direct"]
    scene.say(f"{haneul.name} → {GREETING}")
    sent = haneul.online.send(chat, text=GREETING)
    event = next_event(bada, chat)
    scene.say(f"{bada.name} ← {text_of(event)}  (seq {event.seq})")
    expect(event.id == sent.id, "another message came")
    expect(text_of(event) == GREETING, "the text is not what was sent")
    expect(event.sender == haneul.handle, f"the sender is said to be {event.sender}")
    own = next_event(haneul, chat)
    expect(own.id == sent.id, "the sender did not get its own event")
    scene.events["greeting"] = event
    return f"stored as seq {event.seq}, then delivered"


def delivered(scene: Scene) -> str:
    """The first sees that it was delivered: the broker made that of the second's PUBACK, without any code of the client's."""
    seq = scene.events["greeting"].seq
    for mark in marks(scene["haneul"], scene.chats["direct"], scene["bada"]):
        if mark.delivered >= seq:
            expect(mark.seen < seq, "it is seen already, though nobody has said so")
            return f"{scene['bada'].name} has received up to seq {mark.delivered}"
    raise Unexpected("no delivery receipt came")


def seen(scene: Scene) -> str:
    """The second looks at it, the first sees that."""
    seq = scene.events["greeting"].seq
    scene["bada"].online.seen(scene.chats["direct"], seq)
    for mark in marks(scene["haneul"], scene.chats["direct"], scene["bada"]):
        if mark.seen >= seq:
            return f"{scene['bada'].name} has seen up to seq {mark.seen}"
    raise Unexpected("no seen receipt came")
