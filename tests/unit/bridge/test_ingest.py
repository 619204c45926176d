"""From publish to settled: order, repeats, rejects (P1, P3, P4)."""

from __future__ import annotations

import asyncio
import json
import unicodedata
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest

from chat.envelopes import Body, Invalidation, Send, encode
from chat.ids import message_id_from_ingest, new_message_id
from chat.models import Member, Role

TEXTS = ["안녕하세요 👋🏽", unicodedata.normalize("NFD", "안녕하세요"), "𝒳 👨‍👩‍👧‍👦", "a\u0000b"]


async def test_stored_before_acknowledged_and_fanned_out_as_stored(world: Any) -> None:
    for text in TEXTS:
        published = await world.send("c1", "user1", text)
        assert published.reason_code == 0
    history = await world.history("c1")
    assert [event.body.text for event in history] == TEXTS
    assert [(event.seq, event.n, event.sender) for event in history] == [(k, k, "user1") for k in (1, 2, 3, 4)]
    assert world.fanned("c1") == history
    assert [sent.properties for sent in world.broker.on("chats/c1/messages")] == [
        {"mark": str(k)} for k in (1, 2, 3, 4)
    ]


async def test_no_acknowledgement_while_the_write_is_under_way(world: Any) -> None:
    seen: list[bool] = []
    sending: list[asyncio.Task[Any]] = []
    world.messages.after_insert = lambda _events: seen.append(sending[0].done())
    sending.append(asyncio.create_task(world.send("c1", "user1")))
    assert (await sending[0]).reason_code == 0
    assert seen == [False]


async def test_many_at_once_are_dense_and_keep_each_senders_order(world: Any) -> None:
    async def one(chat: str, user: str) -> list[str]:
        ids = [new_message_id() for _ in range(300)]
        await asyncio.gather(*(world.send(chat, user, id_=id_) for id_ in ids))
        return ids

    streams = [("c1", "user1"), ("c1", "user2"), ("c2", "user2"), ("c2", "user3")]
    sent = dict(zip(streams, await asyncio.gather(*(one(*stream) for stream in streams)), strict=True))
    for chat in ("c1", "c2"):
        history = await world.history(chat)
        assert [event.seq for event in history] == list(range(1, 601))
        assert [event.n for event in history] == list(range(1, 601))
        assert [event.seq for event in world.fanned(chat)] == list(range(1, 601))
        for (chat_, user), ids in sent.items():
            if chat_ == chat:
                assert [event.id for event in history if event.sender == user] == ids
    assert any(len(batch) > 1 for batch in world.messages.inserts)


async def test_a_repeat_stores_nothing_and_is_fanned_out_again(make_world: Callable[..., Any]) -> None:
    world = await make_world()
    id_ = new_message_id()
    await world.send("c1", "user1", "처음", id_=id_)
    await world.send("c1", "user2")
    assert (await world.send("c1", "user1", "다른 말", id_=id_.upper())).reason_code == 0
    history = await world.history("c1")
    assert [event.seq for event in history] == [1, 2]
    assert [event.seq for event in world.fanned("c1")] == [1, 2, 1]
    assert world.fanned("c1")[2] == history[0]
    assert world.count("repeats") == 1
    # The same from a bridge that has just started, and so finds the repeat in the store.
    second = await make_world(world.stores)
    assert (await second.send("c1", "user1", id_=id_)).reason_code == 0
    assert [(event.id, event.seq) for event in second.fanned("c1")] == [(id_, 1)]
    assert len(await world.history("c1")) == 2


async def test_the_same_id_twice_in_one_batch_is_stored_once(world: Any) -> None:
    id_ = new_message_id()
    answers = await asyncio.gather(*(world.send("c1", "user1", id_=id_) for _ in range(3)))
    assert [answer.reason_code for answer in answers] == [0, 0, 0]
    assert [event.seq for event in await world.history("c1")] == [1]


@pytest.mark.parametrize(("chat", "user"), [("c1", "user2"), ("c2", "user2")])
async def test_the_id_of_another_message_is_taken(world: Any, chat: str, user: str) -> None:
    id_ = new_message_id()
    await world.send("c1", "user1", id_=id_)
    answer = await world.send(chat, user, id_=id_)
    assert (answer.reason_code, answer.code) == (0x83, "id_taken")
    assert world.inbox(user) == [
        {"type": "reject", "code": "id_taken", "reason": answer.reason, "id": id_, "chat": chat}
    ]
    assert len(await world.history("c1")) == 1
    assert await world.history("c2") == []


_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_BAD = [
    ("c1", "user1", b"plain words", 0x99, "not_json"),
    ("c1", "user1", b"\xff\xfe", 0x99, "not_json"),
    ("c1", "user1", b"[" * 5000, 0x99, "invalid_envelope"),
    (
        "c1",
        "user1",
        b'{"id":"01890a5d-ac96-774b-bcce-b302099a8057","body":{"text":"x"},"colour":1}',
        0x99,
        "invalid_envelope",
    ),
    ("c1", "user1", b'{"id":"01890a5d-ac96-774b-bcce-b302099a8057","body":{"text":7}}', 0x99, "invalid_envelope"),
    ("c1", "user1", b'{"id":"01890a5d-ac96-774b-bcce-b302099a8057"}', 0x99, "invalid_envelope"),
    ("c1", "user1", b'{"id":"5","body":{"text":"x"}}', 0x83, "invalid_id"),
    ("c1", "user1", b'{"id":"%s","body":{"text":"%s"}}' % (_ID.encode(), b"x" * 70_000), 0x83, "too_large"),
    ("nowhere", "user1", encode(Send(id=_ID, body=Body(text="x"))), 0x87, "unknown_chat"),
    ("c1", "user3", encode(Send(id=_ID, body=Body(text="x"))), 0x87, "not_a_writer"),
]


@pytest.mark.parametrize(("chat", "user", "raw", "reason_code", "code"), _BAD)
async def test_bad_input_is_refused_and_nothing_is_stored(
    world: Any, chat: str, user: str, raw: bytes, reason_code: int, code: str
) -> None:
    bad, good = await asyncio.gather(world.send(chat, user, raw=raw), world.send("c1", "user2"))
    assert (bad.reason_code, bad.code) == (reason_code, code)
    assert bad.reason
    assert good.reason_code == 0
    assert [reject["code"] for reject in world.inbox(user)] == [code]
    assert [event.sender for event in await world.history("c1")] == ["user2"]
    assert await world.history(chat) == ([] if chat == "nowhere" else await world.history("c1"))
    assert world.count("refused", code=code) == 1


async def test_one_byte_too_large_is_refused_and_one_less_is_not(make_world: Callable[..., Any]) -> None:
    fitting = encode(Send(id=new_message_id(), body=Body(text="가" * 100)))
    world = await make_world(bridge_max_send_bytes=len(fitting))
    assert (await world.send("c1", "user1", raw=fitting)).reason_code == 0
    longer = encode(Send(id=new_message_id(), body=Body(text="가" * 100 + "a")))
    assert (await world.send("c1", "user1", raw=longer)).code == "too_large"


async def test_a_reader_may_not_write(world: Any) -> None:
    await world.stores.chats.add_member(Member("c1", "user9", Role.READER, datetime.now(UTC)))
    assert (await world.send("c1", "user9")).code == "not_a_writer"


async def test_somebody_who_joined_a_moment_ago_may_write_and_who_left_may_not(world: Any) -> None:
    await world.send("c1", "user1")  # the roster is in memory now
    await world.stores.chats.add_member(Member("c1", "user4", Role.MEMBER, datetime.now(UTC)))
    assert (await world.send("c1", "user4")).reason_code == 0
    await world.stores.chats.remove_member("c1", "user4", datetime.now(UTC))
    await world.invalidations.publish(Invalidation("member", chat="c1", user="user4"))
    await asyncio.sleep(0)
    assert (await world.send("c1", "user4")).code == "not_a_writer"


async def test_too_fast_is_told_to_come_later(make_world: Callable[..., Any]) -> None:
    world = await make_world(bridge_rate=0.001, bridge_burst=3)
    answers = [await world.send("c1", "user1") for _ in range(5)]
    assert [answer.reason_code for answer in answers] == [0, 0, 0, 0x97, 0x97]
    assert (await world.send("c1", "user2")).reason_code == 0
    assert [event.n for event in await world.history("c1")] == [1, 2, 3, 4]


@pytest.mark.parametrize(
    ("user", "raw", "content_type", "body"),
    [
        ("dev-thermo", b"21.5", None, Body(data="21.5", content_type="text/plain")),
        ("dev-thermo", b'{"t":21.5}', None, Body(data='{"t":21.5}', content_type="text/plain")),
        (
            "dev-thermo",
            b"\x00\xff",
            None,
            Body(data="AP8=", content_type="application/octet-stream", encoding="base64"),
        ),
        (
            "user1",
            "온도".encode(),
            "text/x-reading; charset=utf-8",
            Body(data="온도", content_type="text/x-reading; charset=utf-8"),
        ),
    ],
)
async def test_plain_payloads_are_wrapped_and_a_resend_is_a_repeat(
    world: Any, user: str, raw: bytes, content_type: str | None, body: Body
) -> None:
    for _ in range(2):
        answer = await world.send("c1", user, raw=raw, content_type=content_type, ingest="broker1:7")
        assert answer.reason_code == 0
    await world.send("c1", user, raw=raw, content_type=content_type, ingest="broker1:8")
    history = await world.history("c1")
    assert [event.body for event in history] == [body, body]
    assert history[0].id == message_id_from_ingest("broker1:7")


async def test_a_plain_payload_without_an_ingest_id_is_refused(world: Any) -> None:
    assert (await world.send("c1", "dev-thermo", raw=b"21.5")).code == "invalid_envelope"


async def test_a_device_may_send_an_envelope_and_a_wrong_one_is_not_taken_for_plain(world: Any) -> None:
    good = encode(Send(id=new_message_id(), body=Body(text="x")))
    assert (await world.send("c1", "dev-thermo", raw=good, ingest="b:1")).reason_code == 0
    wrong = json.dumps({"id": new_message_id(), "type": "message", "extra": 1}).encode()
    assert (await world.send("c1", "dev-thermo", raw=wrong, ingest="b:2")).code == "invalid_envelope"
    assert [event.body for event in await world.history("c1")] == [Body(text="x")]


@pytest.mark.parametrize("content_type", ["application/json", "Application/JSON; charset=utf-8"])
async def test_json_content_types_are_envelopes(world: Any, content_type: str) -> None:
    assert (await world.send("c1", "user1", content_type=content_type)).reason_code == 0
    assert (await world.send("c1", "user1", raw=b"x", content_type=content_type)).code == "not_json"


async def test_what_grows_past_a_packet_as_json_is_refused(world: Any) -> None:
    answer = await world.send("c1", "dev-thermo", raw=b"\x01" * 60_000, ingest="b:1")
    assert answer.code == "too_large"
    assert (await world.send("c1", "dev-thermo", raw=b"\xff" * 60_000, ingest="b:2")).reason_code == 0


async def test_the_head_of_the_chat_is_cached(world: Any) -> None:
    await world.send("c1", "user1")
    await world.send("c1", "user1")
    await world.bridge.touches.flush()
    chat = await world.stores.chats.get("c1")
    assert (chat.last_seq, chat.last_n) == (2, 2)
    assert chat.last_at == (await world.history("c1"))[1].at


async def until_seen(world: Any, user: str, seq: int) -> None:
    while (await world.stores.chats.member("c1", user)).seen_seq < seq:
        await asyncio.sleep(0.002)


async def test_sending_moves_the_senders_own_watermarks(world: Any) -> None:
    await world.send("c1", "user1")
    await world.send("c1", "user2")
    await until_seen(world, "user1", 1)
    await until_seen(world, "user2", 2)
    first = await world.stores.chats.member("c1", "user1")
    second = await world.stores.chats.member("c1", "user2")
    assert (first.delivered_seq, first.seen_seq, first.seen_n) == (1, 1, 1)
    assert (second.delivered_seq, second.seen_seq, second.seen_n) == (2, 2, 2)
