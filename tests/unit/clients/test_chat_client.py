"""The client against a house that misbehaves: `tests/unit/clients/conftest.py`."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import pytest

from chat import topics
from chat.envelopes import Ack, Body, Event, Invitation, Mark, ReceiptUpdate, Reject, Send, decode, encode
from chat.ids import new_message_id
from clients.python import (
    ChatClient,
    Closed,
    ConnectRefused,
    ConnectTimeout,
    JoinRefused,
    JoinTimeout,
    Limits,
    OutboxFull,
    Presence,
    Restart,
    SendRefused,
    SendTimeout,
    Slowed,
    pacing,
)
from mqtt.packets import PubAck

House = Any
"""`conftest.House`; test folders are no packages."""

CHAT = "g-1"
AT = datetime(2026, 5, 4, tzinfo=UTC)
Make = Callable[..., ChatClient]


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits between tries are short, so that tests are."""
    monkeypatch.setattr(pacing.backoff, "__kwdefaults__", {**pacing.backoff.__kwdefaults__, "base": 0.05, "cap": 0.2})


@pytest.fixture
def make(house: House) -> Iterator[Make]:
    made: list[ChatClient] = []

    def client(**settings: Any) -> ChatClient:
        given = {"user": "haneul", "token": "t", "client_id": "haneul:phone"} | settings
        made.append(ChatClient("127.0.0.1", house.port, **given))
        return made[-1]

    yield client
    for one in made:
        one.close()


def connected(make: Make, **settings: Any) -> ChatClient:
    client = make(**settings)
    client.connect()
    return client


def seqs(client: ChatClient, timeout: float = 0.3) -> list[int]:
    return [event.seq for event in client.events(timeout)]


def eventually(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline, "it did not come about in time"
        time.sleep(0.01)


@pytest.mark.parametrize("protocol", [4, 5])
def test_send_returns_when_it_is_stored_and_the_sender_gets_its_own_event(
    house: House, make: Make, protocol: int
) -> None:
    client = connected(make, protocol=protocol)
    client.join(CHAT, cursor=0)
    text = "안녕하세요 \U0001f469\u200d\U0001f469\u200d\U0001f467 e\u0301"
    sent = client.send(CHAT, text=text)
    (stored,) = house.events[CHAT]
    assert stored.id == sent.id
    event = client.next_event(5)
    assert event is not None
    assert event.body == Body(text=text)
    assert house.sends[0].topic == "chats/g-1/send/haneul"
    assert house.connects[0].version == protocol
    assert client.unsent == []


def test_every_field_of_the_envelope_travels(house: House, make: Make) -> None:
    first, second = new_message_id(), new_message_id()
    connected(make).send(
        CHAT, type="reaction", body=Body(emoji="👍"), target=first, id=second.upper(), mentions=["bada"], expires_in=60
    )
    sent = decode(house.sends[0].payload, Send)
    assert sent == Send(
        id=second, type="reaction", body=Body(emoji="👍"), target=first, mentions=["bada"], expires_in=60
    )
    assert house.sends[0].properties["content_type"] == "application/json"


def test_a_refusal_by_reason_code_is_raised_with_the_servers_code(house: House, make: Make) -> None:
    house.answers.append(PubAck(0, 0x99, {"reason_string": "no body", "user_property": [("code", "invalid_envelope")]}))
    house.answers.append(PubAck(0, 0x87))
    client = connected(make)
    with pytest.raises(SendRefused) as refused:
        client.send(CHAT, text="x")
    assert (refused.value.code, refused.value.reason) == ("invalid_envelope", "no body")
    with pytest.raises(SendRefused, match="not_authorized"):
        client.send(CHAT, text="x")
    assert client.unsent == []


def test_a_refusal_on_the_inbox_is_raised_over_3_1_1(house: House, make: Make) -> None:
    client = make(protocol=4)
    inbox: queue.Queue[object] = queue.Queue()
    client.on_inbox = inbox.put
    client.connect()
    message_id = new_message_id()
    reject = Reject(code="too_large", reason="64 KiB at most", id=message_id, chat=CHAT)
    house.answers.append(reject)
    with pytest.raises(SendRefused, match="too_large"):
        client.send(CHAT, text="x", id=message_id)
    assert inbox.get(timeout=5) == reject


@pytest.mark.parametrize("protocol", [4, 5])
@pytest.mark.parametrize(
    ("message", "code"),
    [
        ({"body": Body()}, "invalid_envelope"),
        ({"text": "가" * 22_000}, "too_large"),
        ({"type": "delete"}, "invalid_envelope"),
        ({"text": "x", "reply_to": "not-an-id"}, "invalid_id"),
    ],
)
def test_what_the_server_could_only_refuse_is_not_sent(
    house: House, make: Make, protocol: int, message: dict[str, Any], code: str
) -> None:
    client = connected(make, protocol=protocol)
    with pytest.raises(SendRefused) as refused:
        client.send(CHAT, **message)
    assert (refused.value.code, refused.value.reason_code) == (code, None)
    client.send(CHAT, text="가" * 21_000)
    assert len(house.sends) == 1


def test_with_mqtt_5_the_puback_decides_not_the_inbox(house: House, make: Make) -> None:
    message_id = new_message_id()
    client = make()
    inbox: queue.Queue[object] = queue.Queue()
    client.on_inbox = inbox.put
    client.connect()
    house.answers.append(PubAck(0, 0x87, {"user_property": [("code", "not_found")]}))
    house.fan_out(topics.inbox("haneul"), encode(Reject(code="not_found", reason="…", id=message_id)))
    with pytest.raises(SendRefused) as refused:
        client.send(CHAT, text="x", id=message_id)
    assert (refused.value.code, refused.value.reason_code) == ("not_found", 0x87)
    assert inbox.get(timeout=5) is not None


def test_a_refusal_that_passes_is_tried_again_with_the_same_id_and_nothing_overtakes(house: House, make: Make) -> None:
    house.answers += [PubAck(0, 0x97, {"user_property": [("code", "unavailable")]}), PubAck(0, 0x80)]
    client = connected(make, limits=Limits(window=1))
    futures = [client.send_nowait(CHAT, text=str(number)) for number in range(3)]
    ids = [future.result(10).id for future in futures]
    assert [event.id for event in house.events[CHAT]] == ids
    assert [decode(packet.payload, Send).id for packet in house.sends] == [ids[0], ids[0], *ids]


@pytest.mark.parametrize("protocol", [4, 5])
def test_who_is_too_fast_is_told_and_everything_is_stored_in_order(house: House, make: Make, protocol: int) -> None:
    client = make(protocol=protocol)
    told: queue.Queue[Slowed] = queue.Queue()
    client.on_slow = told.put
    client.connect()
    ids = [new_message_id() for _ in range(30)]
    for _ in range(5):  # of whatever comes: after the first of them the client may send one by one
        too_fast = Reject(code="rate_limited", reason="…", chat=CHAT)
        house.answers.append(
            too_fast if protocol == 4 else PubAck(0, 0x97, {"user_property": [("code", "rate_limited")]})
        )
    futures = [client.send_nowait(CHAT, text=str(number), id=id_) for number, id_ in enumerate(ids)]
    other = client.send_nowait("g-2", text="다른 방")
    assert [future.result(60).id for future in futures] == ids
    assert other.result(60)
    assert client.unsent == []
    slowed = told.get(timeout=60)
    assert (slowed.chat, slowed.code) == (CHAT, "rate_limited")
    assert slowed.wait > 0
    stored = [event.id for event in house.events[CHAT]]
    assert sorted(stored) == sorted(ids)
    assert [id_ for id_ in stored if id_ in ids[:5]] == ids[:5]


def test_without_an_answer_the_message_stays_and_is_sent_again_after_a_reconnect(house: House, make: Make) -> None:
    house.answers += [None, None]
    client = connected(make)
    first, second = new_message_id(), new_message_id()
    later = client.send_nowait(CHAT, text="1", id=first)
    with pytest.raises(SendTimeout) as timeout:
        client.send(CHAT, text="2", id=second, timeout=0.2)
    assert timeout.value.id == second
    assert client.unsent == [first, second]
    house.cut()
    assert client.send(CHAT, text="2", id=second).id == second  # goes on waiting for the same one
    assert later.result(10).id == first
    assert [event.id for event in house.events[CHAT]] == [first, second]
    assert [decode(packet.payload, Send).id for packet in house.sends] == [first, second, first, second]


def test_what_is_sent_while_away_goes_out_later_in_order(house: House, make: Make) -> None:
    client = connected(make)
    house.refuse_connect += [0x88, 0x88]
    house.cut()
    eventually(lambda: not client.connected)
    ids = [client.send_nowait(CHAT, text=str(number)) for number in range(50)]
    assert [future.result(10).id for future in ids] == [event.id for event in house.events[CHAT]]


def test_the_outbox_is_bounded(house: House, make: Make) -> None:
    house.answers += [None] * 2
    client = connected(make, limits=Limits(outbox=2))
    client.send_nowait(CHAT, text="1")
    client.send_nowait(CHAT, text="2")
    with pytest.raises(OutboxFull):
        client.send_nowait(CHAT, text="3")


def test_close_tells_whoever_waits(house: House, make: Make) -> None:
    house.answers.append(None)
    client = connected(make)
    future = client.send_nowait(CHAT, text="1")
    client.close()
    with pytest.raises(Closed):
        future.result(1)
    with pytest.raises(Closed):
        client.send(CHAT, text="2")
    assert client.next_event(1) is None


def test_join_catches_up_from_the_cursor_and_goes_on_live(house: House, make: Make) -> None:
    house.store(count=250)
    client = connected(make)
    client.join(CHAT, cursor=3)
    house.store()
    assert seqs(client) == list(range(4, 252))
    assert client.cursor(CHAT) == 251


def test_join_without_a_cursor_starts_now(house: House, make: Make) -> None:
    house.store(count=7)
    client = connected(make)
    client.join(CHAT)
    house.store(count=2)
    assert seqs(client) == [8, 9]


def test_a_small_hold_still_gets_a_large_history(house: House, make: Make) -> None:
    house.store(count=120)
    client = connected(make, limits=Limits(hold=10, page=7))
    client.join(CHAT, cursor=0)
    assert seqs(client) == list(range(1, 121))


def test_a_lost_event_is_healed_by_sync_also_when_the_first_answer_is_lost(house: House, make: Make) -> None:
    client = connected(make)
    client.join(CHAT, cursor=0)
    house.lost.add(2)
    house.silent_syncs = 1
    house.store(count=3)
    assert seqs(client, 1.0) == [1, 2, 3]


def test_a_repeat_is_not_delivered_again(house: House, make: Make) -> None:
    client = connected(make)
    client.join(CHAT, cursor=0)
    message_id = new_message_id()
    client.send(CHAT, text="1", id=message_id)
    client.send(CHAT, text="1", id=message_id)
    assert seqs(client) == [1]
    assert len(house.sends) == 2


@pytest.mark.parametrize("session_present", [True, False])
def test_what_was_missed_while_away_comes_after_the_reconnect(
    house: House, make: Make, *, session_present: bool
) -> None:
    client = connected(make)
    client.join(CHAT, cursor=0)
    house.store()
    before = len(house.subscribed)
    if not session_present:
        house.forget_sessions()
    house.refuse_connect.append(0x88)
    house.cut()
    house.store(count=2)
    assert seqs(client, 1.0) == [1, 2, 3]
    again = [] if session_present else [topics.inbox("haneul"), topics.messages(CHAT), topics.receipts(CHAT)]
    assert house.subscribed[before:] == again


def test_a_chat_that_was_taken_away_meanwhile_is_told(house: House, make: Make) -> None:
    client = make()
    resets: queue.Queue[Restart] = queue.Queue()
    client.on_reset = resets.put
    client.connect()
    client.join(CHAT, cursor=0)
    house.denied.add(topics.messages(CHAT))
    house.forget_sessions()
    house.cut()
    eventually(lambda: client.connected and len(house.connects) == 2)
    client.sync({}, timeout=1)
    house.fan_out(topics.inbox("haneul"), encode(house._answer(CHAT, 0, house.syncs[-1])))
    assert resets.get(timeout=5) == Restart(CHAT, "unknown_chat", None)
    with pytest.raises(ValueError, match="not joined"):
        client.sync({CHAT: 0})


def test_a_refused_join_is_raised_and_leaves_nothing(house: House, make: Make) -> None:
    house.denied.add(topics.messages(CHAT))
    client = connected(make)
    with pytest.raises(JoinRefused, match="not_authorized"):
        client.join(CHAT)
    assert client.connected
    assert client._session.timelines.cursor(CHAT) == 0
    assert CHAT not in client._session.timelines


def test_an_unusable_cursor_restarts_at_the_head(house: House, make: Make) -> None:
    house.store(count=4)
    client = make()
    resets: queue.Queue[Restart] = queue.Queue()
    client.on_reset = resets.put
    client.connect()
    client.join(CHAT, cursor=99)
    assert resets.get(timeout=5) == Restart(CHAT, "ahead", 4)
    house.store()
    assert seqs(client) == [5]


def test_a_sync_that_nobody_answers_times_out_and_goes_on(house: House, make: Make) -> None:
    house.store(count=2)
    house.silent_syncs = 5
    client = connected(make)
    with pytest.raises(JoinTimeout):
        client.join(CHAT, cursor=0, timeout=0.2)
    assert seqs(client, 2.0) == [1, 2]


def test_sync_again_from_an_older_cursor(house: House, make: Make) -> None:
    house.store(count=3)
    client = connected(make)
    client.join(CHAT, cursor=3)
    client.sync({CHAT: 1})
    assert seqs(client) == [2, 3]


def test_watermarks_are_told_and_what_came_by_sync_is_delivered(house: House, make: Make) -> None:
    house.store(count=3)
    client = connected(make)
    client.join(CHAT, cursor=0)
    client.seen(CHAT, 2)

    def told(what: str) -> int:
        return max((getattr(decode(payload, Ack), what) or 0 for _, payload in house.acks), default=0)

    eventually(lambda: (told("delivered"), told("seen")) == (3, 2))


def test_receipts_invitations_and_typing_are_called_back_in_their_own_thread(house: House, make: Make) -> None:
    client = make()
    got: queue.Queue[tuple[object, str]] = queue.Queue()
    client.on_receipt = client.on_inbox = client.on_typing = lambda what: got.put(
        (what, threading.current_thread().name)
    )
    client.connect()
    client.join(CHAT, cursor=0)
    house.fan_out(topics.inbox("haneul"), encode(Invitation(CHAT, "group", "bada")))
    update = ReceiptUpdate(CHAT, AT, marks=[Mark("bada", 1, 0)])
    house.fan_out(topics.receipts(CHAT), encode(update))
    seen = [got.get(timeout=5) for _ in range(3)]
    assert [what for what, _ in seen if isinstance(what, (Invitation, ReceiptUpdate))] == [
        Invitation(CHAT, "group", "bada"),
        update,
    ]
    assert {name for _, name in seen} == {"pabal-calls-haneul:phone"}
    assert topics.typing(CHAT) in house.subscribed


def test_presence_is_watched_also_after_a_reconnect(house: House, make: Make) -> None:
    client = make()
    got: queue.Queue[Presence] = queue.Queue()
    client.on_presence = got.put
    client.connect()
    client.watch("bada")
    house.forget_sessions()
    house.cut()
    eventually(lambda: house.subscribed.count(topics.presence("bada")) == 2 and client.connected)
    house.fan_out(topics.presence("bada"), b'{"online": false, "at": "2026-05-04T00:00:00Z"}')
    assert got.get(timeout=5) == Presence("bada", online=False, at=AT)
    house.denied.add(topics.presence("stranger"))
    with pytest.raises(JoinRefused):
        client.watch("stranger")
    client.unwatch("bada")


def test_a_callback_may_send_and_may_fail(house: House, make: Make) -> None:
    client = make()
    answered = threading.Event()

    def on_event(event: Event) -> None:
        if event.sender == "bada":
            client.send(CHAT, text="답장")
            answered.set()
            raise RuntimeError("the app's own mistake")

    client.on_event = on_event
    client.connect()
    client.join(CHAT, cursor=0)
    house.store()
    assert answered.wait(5)
    house.store()
    eventually(lambda: client.cursor(CHAT) == 4)
    with pytest.raises(RuntimeError, match="on_event"):
        client.next_event()


def test_what_is_no_envelope_is_counted_and_passed_over(house: House, make: Make) -> None:
    client = connected(make)
    client.join(CHAT, cursor=0)
    house.fan_out(topics.messages(CHAT), b"\xff")
    house.fan_out(topics.inbox("haneul"), b'{"type": "from-the-future"}')
    house.store()
    assert seqs(client) == [1]
    assert client._session.malformed == 1


def test_a_wrong_token_is_refused_at_once(house: House, make: Make) -> None:
    house.refuse_connect.append(0x86)
    with pytest.raises(ConnectRefused, match="bad_user_name_or_password"):
        make().connect()
    assert len(house.connects) == 1


def test_a_token_that_is_refused_later_and_cannot_be_renewed_ends_the_client(house: House, make: Make) -> None:
    house.answers.append(None)
    client = connected(make, token="fixed")
    waiting = client.send_nowait(CHAT, text="1")
    eventually(lambda: len(house.sends) == 1)
    house.refuse_connect += [0x87] * 9
    house.cut()
    with pytest.raises(ConnectRefused, match="not_authorized"):
        waiting.result(5)
    time.sleep(0.5)  # several waits of an impatient client
    assert len(house.connects) == 2


def test_nobody_there(free_port: Callable[[], int]) -> None:
    client = ChatClient("127.0.0.1", free_port(), user="haneul", token="t")
    with pytest.raises(ConnectTimeout):
        client.connect(0.2)
    with pytest.raises(Closed):
        client.connect(0.2)


def test_each_try_to_connect_asks_for_a_fresh_token(house: House, make: Make) -> None:
    numbers = iter(range(100))
    client = connected(make, token=lambda: f"t{next(numbers)}")
    house.refuse_connect.append(0x86)  # expired meanwhile: the next one is not
    house.cut()
    eventually(lambda: client.connected and len(house.connects) == 3)
    assert [packet.password for packet in house.connects] == [b"t0", b"t1", b"t2"]


def test_a_token_that_cannot_be_had_is_one_more_failed_try(house: House, make: Make) -> None:
    tokens: Iterator[Any] = iter([OSError("no network"), KeyError("app's mistake"), "t"])

    def token() -> str:
        got = next(tokens)
        if isinstance(got, Exception):
            raise got
        return str(got)

    connected(make, token=token)
    assert len(house.connects) == 1


def test_a_connection_taken_over_does_not_fight_back(house: House, make: Make) -> None:
    client = connected(make)
    house.say_goodbye(0x8E)
    with pytest.raises(ConnectRefused, match="session_taken_over"):
        client.next_event(5)
    assert not client.connected
    assert len(house.connects) == 1


def test_a_server_that_goes_for_a_while_is_come_back_to(house: House, make: Make) -> None:
    client = connected(make)
    house.say_goodbye(0x8B)
    house.cut()
    eventually(lambda: len(house.connects) == 2 and client.connected)


def test_no_thread_is_left_behind(make: Make) -> None:
    before = set(threading.enumerate())
    client = connected(make)
    client.join(CHAT, cursor=0)
    client.close()
    client.close()
    left = {thread for thread in set(threading.enumerate()) - before if "pabal" in thread.name or "paho" in thread.name}
    assert not left
