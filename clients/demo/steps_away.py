"""A phone that goes away, is pushed, and comes back; and a message that is sent twice."""

from __future__ import annotations

import queue
import time

from clients.demo.scene import PUSH_SOON, SOON, Scene, Unexpected, expect, text_of, until

MISSED = ("지금 어디세요?", "버스가 곧 와요.", "먼저 탈게요 🚌")


def away(scene: Scene) -> str:
    """The second has a push token registered, and goes away; the first sees that."""
    haneul, bada = scene["haneul"], scene["bada"]
    scene.push_token = f"demo-token-{scene.suffix}"
    bada.api.put_push_token(scene.push_token, "android")
    haneul.online.watch(bada.handle)
    bada.online.close()
    deadline = time.monotonic() + SOON
    while (left := deadline - time.monotonic()) > 0:
        try:
            state = haneul.presence.get(timeout=left)
        except queue.Empty:
            break
        if state.user == bada.handle and not state.online:
            return f"{bada.name} is offline"
    raise Unexpected(f"{haneul.name} was not told that {bada.name} went offline")


def missed(scene: Scene) -> str:
    """Three messages come meanwhile."""
    haneul, chat = scene["haneul"], scene.chats["direct"]
    for number, text in enumerate(MISSED):
        scene.say(f"{haneul.name} → {text}")
        sent = haneul.online.send(chat, text=text)
        event = next(event for event in haneul.online.events(SOON) if event.id == sent.id)
        scene.events[f"missed{number}"] = event
    seqs = [scene.events[f"missed{number}"].seq for number in range(len(MISSED))]
    first = scene.events["greeting"].seq + 1
    expect(seqs == list(range(first, first + len(MISSED))), f"their seq are {seqs}: not dense")
    return f"seq {seqs[0]} to {seqs[-1]}"


def pushed(scene: Scene) -> str:
    """A push goes out for them, to the emulator that stands in for FCM."""
    until(lambda: bool(scene.pushes(scene.push_token)), f"no push within {PUSH_SOON:g} s", within=PUSH_SOON)
    taken = scene.pushes(scene.push_token)
    return f"{len(taken)} for {scene.push_token}"


def back(scene: Scene) -> str:
    """The second comes back with the cursor it had, and syncs exactly the three."""
    bada, chat = scene["bada"], scene.chats["direct"]
    client = scene.connect(bada)
    client.join(chat, cursor=scene.events["greeting"].seq)
    got = list(client.events(1.0))
    for event in got:
        scene.say(f"{bada.name} ← {text_of(event)}  (seq {event.seq})")
    expect([text_of(event) for event in got] == list(MISSED), f"{len(got)} events came, or in another order")
    client.seen(chat, got[-1].seq)
    return f"exactly {len(got)}: seq {got[0].seq} to {got[-1].seq}"


def resend(scene: Scene) -> str:
    """The first sends one id again, over MQTT and over REST: nothing new is stored, and it has the seq that it had."""
    haneul, chat, event = scene["haneul"], scene.chats["direct"], scene.events["missed0"]
    before = haneul.api.history(chat).items
    haneul.online.send(chat, text=text_of(event), id=event.id)
    again = haneul.api.send(chat, text=text_of(event), id=event.id)
    expect(again.seq == event.seq, f"it was seq {event.seq}, and is {again.seq} now")
    after = haneul.api.history(chat).items
    expect([(one.id, one.seq) for one in after] == [(one.id, one.seq) for one in before], "something new was stored")
    for person in (haneul, scene["bada"]):
        expect(person.online.next_event(1.0) is None, f"{person.name} was shown the repeat")
    return f"still seq {again.seq}, {len(after)} events as before"
