"""`MessageStore`: P1, P3 and P4 where they are kept."""

from __future__ import annotations

import asyncio
import unicodedata
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from adapters.stores import Stores
from chat import envelopes
from chat.envelopes import Attachment, Body, Event
from chat.errors import BadInput
from chat.events import Forwarded, System
from chat.ids import new_message_id
from chat.models import Head, Slot
from chat.ports import Inserted

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
STORED = Inserted(stored=True)


def event(seq: int, *, chat: str = "g-1", **fields: Any) -> Event:
    defaults: dict[str, Any] = {
        "type": "message",
        "id": new_message_id(),
        "n": seq,
        "sender": "user1",
        "at": AT,
        "body": Body(text=f"안녕 {seq}"),
    }
    return Event(chat=chat, seq=seq, **{**defaults, **fields})


async def test_what_is_inserted_comes_back_unchanged(stores: Stores) -> None:
    whole = event(
        1,
        type="edit",
        body=Body(text="안녕하세요 👩‍👩‍👧‍👦"),
        target=new_message_id(),
        reply_to=new_message_id(),
        mentions=["user2", "user3"],
        expires_at=datetime.now(UTC).replace(microsecond=0) + timedelta(days=1),
        edited_at=AT + timedelta(seconds=1),
        trace_id="trace",
    )
    bare = event(2, type="void", body=None, sender="svc-bridge", n=0)
    private = event(3, type="hide", body=None, target=whole.id, only="user1")
    forward = event(4, forwarded=Forwarded(new_message_id(), "user9", AT))
    renamed = event(5, type="system", body=None, system=System("renamed", "user1", title="주말 등산"))
    joined = event(6, type="system", body=None, system=System("joined", "user1", ["user2", "user3"], role="member"))
    events = [whole, bare, private, forward, renamed, joined]
    assert await stores.messages.insert(events) == [STORED] * 6
    assert await stores.messages.after("g-1", 0, 10) == events
    assert await stores.messages.by_ids([whole.id, new_message_id()]) == {whole.id: whole}


@pytest.mark.parametrize(
    "body",
    [
        Body(text="NUL \x00 inside, 4 bytes 🐎, combined \u1112\u1161\u11ab"),
        Body(text=unicodedata.normalize("NFD", "파발")),
        Body(text=""),
        Body(
            attachment=Attachment(url="https://example.org/파일", content_type="image/png", size=2**40, name="그림.png")
        ),
        Body(attachment=Attachment(url="u", content_type="c")),
        Body(data="21.5 °C\x00", content_type="text/plain"),
        Body(data="AAEC", content_type="application/octet-stream", encoding="base64"),
        Body(data={"$where": "1", "a.b": {"": [None, True, -0.5]}, "": {"$set": {"x": 1}}, "k\x00ey": 1}),
        Body(data={"$ref": "users", "$id": 1, "$db": "admin"}),
        Body(data=[2**31, 2**63, 2**70, -(2**64), 1e308, 0]),
        Body(data=False),
        Body(data=0),
        Body(data=[]),
        Body(data='{"text": "that looks like JSON"}'),
        Body(cipher="b3BhcXVl"),
        Body(emoji="👍🏽"),
        Body(),
    ],
    ids=repr,
)
async def test_any_body_comes_back_unchanged(stores: Stores, body: Body) -> None:
    (answer,) = await stores.messages.insert([event(1, body=body)])
    assert answer == STORED
    (back,) = await stores.messages.after("g-1", 0, 1)
    assert back.body == body
    assert msgspec.json.decode(envelopes.encode(back))["seq"] == 1


async def test_numbers_beyond_32_bits_can_be_sent_on(stores: Stores) -> None:
    big = event(2**40, n=2**33, body=Body(attachment=Attachment(url="u", content_type="c", size=2**40)))
    await stores.messages.insert([big])
    (back,) = await stores.messages.before("g-1", None, 1)
    assert back == big
    assert envelopes.decode(envelopes.encode(back), Event) == big
    assert msgspec.json.encode(await stores.messages.head("g-1")) == b'{"seq":1099511627776,"n":8589934592}'
    assert msgspec.json.encode(await stores.messages.heads(["g-1"])) == b'{"g-1":{"seq":1099511627776,"n":8589934592}}'
    assert msgspec.json.encode(await stores.messages.n_at("g-1", [2**40])) == b'{"1099511627776":8589934592}'


async def test_times_are_cut_to_milliseconds(stores: Stores) -> None:
    seoul = datetime.fromisoformat("2026-05-01T21:00:00.123999+09:00")
    await stores.messages.insert([event(1, at=seoul)])
    (back,) = await stores.messages.after("g-1", 0, 1)
    assert back.at == AT
    assert back.at.utcoffset() == timedelta(0)


async def test_an_empty_batch_is_no_question(stores: Stores) -> None:
    assert await stores.messages.insert([]) == []
    assert await stores.messages.by_ids([]) == {}
    assert await stores.messages.heads([]) == {}
    assert await stores.messages.latest([]) == {}
    assert await stores.messages.n_at("g-1", []) == {}


async def test_the_same_id_again_yields_the_first_event(stores: Stores) -> None:
    first = event(1)
    await stores.messages.insert([first])
    again = event(2, id=first.id, body=Body(text="something else"))
    other_chat = event(1, id=first.id, chat="g-2")
    fresh = event(3)
    answers = await stores.messages.insert([again, fresh, other_chat])
    taken = Inserted(stored=False, taken_by=first)
    assert answers == [taken, STORED, taken]
    assert await stores.messages.after("g-1", 0, 10) == [first, fresh]
    assert await stores.messages.head("g-2") == Head()


async def test_a_taken_seq_is_told(stores: Stores) -> None:
    first = event(1)
    await stores.messages.insert([first])
    answers = await stores.messages.insert([event(1), event(2), event(1, chat="g-2")])
    assert answers == [Inserted(stored=False, seq_taken=True), STORED, STORED]
    assert (await stores.messages.after("g-1", 0, 1)) == [first]


async def test_a_repeat_in_the_same_slot_is_a_repeat(stores: Stores) -> None:
    first = event(1)
    await stores.messages.insert([first])
    assert await stores.messages.insert([first]) == [Inserted(stored=False, taken_by=first)]


async def test_both_fences_at_once_the_stored_id_counts(stores: Stores) -> None:
    first, second = event(1), event(2)
    await stores.messages.insert([first, second])
    collides_twice = event(2, id=first.id)
    assert await stores.messages.insert([collides_twice]) == [Inserted(stored=False, taken_by=first)]


async def test_repeats_within_one_batch(stores: Stores) -> None:
    one = event(1)
    same_id, same_seq = event(2, id=one.id), event(1)
    answers = await stores.messages.insert([one, same_id, same_seq])
    assert answers == [STORED, Inserted(stored=False, taken_by=one), Inserted(stored=False, seq_taken=True)]


async def test_an_id_that_a_later_one_of_the_batch_stored_counts_before_a_taken_seq(stores: Stores) -> None:
    await stores.messages.insert([event(1)])
    late = event(1)
    stored = event(2, id=late.id)
    assert await stores.messages.insert([late, stored]) == [Inserted(stored=False, taken_by=stored), STORED]


async def test_what_is_stored_is_nobody_elses_object(stores: Stores) -> None:
    mine = event(1, mentions=["user2"])
    await stores.messages.insert([mine])
    mine.mentions.append("user3")
    (back,) = await stores.messages.after("g-1", 0, 1)
    back.mentions.append("user4")
    assert (await stores.messages.after("g-1", 0, 1))[0].mentions == ["user2"]


async def test_two_writers_of_one_chat_lose_nothing_and_share_no_seq(stores: Stores) -> None:
    """Each takes the next slots as it sees them; who finds one taken reloads the head and tries again."""

    async def write(writer: str, count: int) -> list[str]:
        ids = [new_message_id() for _ in range(count)]
        waiting = list(ids)
        while waiting:
            head = await stores.messages.head("g-1")
            batch = waiting[: 1 + len(waiting) % 7]
            events = [
                event(head.seq + place, id=id_, n=head.n + place, sender=writer) for place, id_ in enumerate(batch, 1)
            ]
            answers = await stores.messages.insert(events)
            done = {e.id for e, answer in zip(events, answers, strict=True) if answer.stored}
            assert all(answer.stored or answer.seq_taken for answer in answers)
            waiting = [id_ for id_ in waiting if id_ not in done]
            await asyncio.sleep(0)
        return ids

    one, other = await asyncio.gather(write("user1", 60), write("user2", 60))
    events = await stores.messages.after("g-1", 0, 1000)
    assert sorted(e.id for e in events) == sorted(one + other)
    assert len({e.seq for e in events}) == 120


async def test_many_writers_of_one_slot_one_wins(stores: Stores) -> None:
    rivals = [event(1) for _ in range(20)]
    answers = await asyncio.gather(*(stores.messages.insert([rival]) for rival in rivals))
    winners = [rival for rival, (answer,) in zip(rivals, answers, strict=True) if answer.stored]
    assert len(winners) == 1
    assert await stores.messages.after("g-1", 0, 10) == winners
    assert all(answer.stored or answer.seq_taken for (answer,) in answers)


async def test_many_writers_of_one_id_one_wins_and_all_learn_of_it(stores: Stores) -> None:
    id_ = new_message_id()
    rivals = [event(seq, id=id_) for seq in range(1, 21)]
    answers = [answer for (answer,) in await asyncio.gather(*(stores.messages.insert([rival]) for rival in rivals))]
    (winner,) = [rival for rival, answer in zip(rivals, answers, strict=True) if answer.stored]
    assert [answer.taken_by for answer in answers if not answer.stored] == [winner] * 19


async def test_heads(stores: Stores) -> None:
    await stores.messages.insert([event(seq) for seq in (1, 2, 3)])
    await stores.messages.insert([event(1, chat="g-2"), event(2, chat="g-2", type="reaction", n=1)])
    assert await stores.messages.head("g-1") == Head(3, 3)
    assert await stores.messages.head("g-3") == Head()
    heads = await stores.messages.heads(["g-2", "g-1", "g-3", "g-1"])
    assert heads == {"g-1": Head(3, 3), "g-2": Head(2, 1), "g-3": Head()}


async def test_latest_message_skips_what_is_none(stores: Stores) -> None:
    said = event(1)
    await stores.messages.insert([said, *(event(seq, type="reaction", n=1) for seq in range(2, 6))])
    await stores.messages.insert([event(1, chat="g-2", type="system")])
    assert await stores.messages.latest(["g-1", "g-2", "g-3", "g-1"]) == {"g-1": said}


async def test_pages_both_ways(stores: Stores) -> None:
    events = [event(seq) for seq in range(1, 11)]
    await stores.messages.insert([*reversed(events), event(1, chat="g-2")])
    messages = stores.messages
    assert await messages.after("g-1", 0, 3) == events[:3]
    assert await messages.after("g-1", 8, 3) == events[8:]
    assert await messages.after("g-1", 10, 3) == []
    assert await messages.before("g-1", None, 3) == events[7:]
    assert await messages.before("g-1", 3, 10) == events[:2]
    assert await messages.before("g-1", 1, 10) == []
    assert await messages.after("g-1", 0, 0) == []
    assert await messages.before("g-1", None, 0) == []


async def test_a_cursor_may_be_any_number(stores: Stores) -> None:
    stored = event(1)
    await stores.messages.insert([stored])
    assert await stores.messages.after("g-1", 2**70, 3) == []
    assert await stores.messages.before("g-1", 2**70, 3) == [stored]
    assert await stores.messages.n_at("g-1", [2**70, 1]) == {1: 1}


async def test_long_pages_are_whole(stores: Stores) -> None:
    await stores.messages.insert([event(seq) for seq in range(1, 502)])
    assert [e.seq for e in await stores.messages.after("g-1", 0, 500)] == list(range(1, 501))
    assert [e.seq for e in await stores.messages.before("g-1", None, 500)] == list(range(2, 502))


async def test_n_at(stores: Stores) -> None:
    await stores.messages.insert([event(1), event(2, type="reaction", n=1), event(3, n=2)])
    assert await stores.messages.n_at("g-1", [2, 3, 9]) == {2: 1, 3: 2}


async def test_slots(stores: Stores) -> None:
    await stores.messages.insert([event(1), event(2, type="reaction", n=1, sender="user2"), event(4, n=3)])
    assert await stores.messages.slots("g-1", 2, 4) == {
        2: Slot(1, "user2", counts=False),
        4: Slot(3, "user1", counts=True),
    }
    assert await stores.messages.slots("g-1", 5, 2**70) == {}
    assert await stores.messages.slots("g-2", 1, 4) == {}


async def test_what_only_one_may_see_is_no_message_of_the_chat(stores: Stores) -> None:
    await stores.messages.insert([event(1), event(2, n=1, only="user1")])
    assert [slot.counts for slot in (await stores.messages.slots("g-1", 1, 2)).values()] == [True, False]


async def test_slots_get_another_n(stores: Stores) -> None:
    await stores.messages.insert([event(1), event(3), event(4), event(1, chat="g-2")])
    await stores.messages.renumber("g-1", {3: 2, 4: 3})
    assert [(e.seq, e.n) for e in await stores.messages.after("g-1", 0, 9)] == [(1, 1), (3, 2), (4, 3)]
    assert (await stores.messages.head("g-1")).n == 3
    assert (await stores.messages.head("g-2")).n == 1
    await stores.messages.renumber("g-1", {})


async def test_an_edit_changes_what_history_shows(stores: Stores) -> None:
    said = event(1)
    await stores.messages.insert([said])
    later = AT + timedelta(seconds=5, microseconds=999)
    data = Body(data={"$set": {"a.b": 1}})
    await stores.messages.rewrite(said.id, body=data, edited_at=later, deleted_at=None)
    (shown,) = await stores.messages.after("g-1", 0, 1)
    assert (shown.body, shown.edited_at) == (data, AT + timedelta(seconds=5))
    await stores.messages.rewrite(said.id, body=Body(text="older"), edited_at=AT, deleted_at=None)
    assert await stores.messages.after("g-1", 0, 1) == [shown]
    await stores.messages.rewrite(said.id, body=Body(text="newer"), edited_at=later, deleted_at=None)
    assert (await stores.messages.after("g-1", 0, 1))[0].body == Body(text="newer")


async def test_a_delete_is_final(stores: Stores) -> None:
    said = event(1)
    await stores.messages.insert([said])
    gone = AT + timedelta(seconds=1)
    await stores.messages.rewrite(said.id, body=None, edited_at=None, deleted_at=gone)
    await stores.messages.rewrite(said.id, body=Body(text="back"), edited_at=gone, deleted_at=None)
    await stores.messages.rewrite(said.id, body=None, edited_at=None, deleted_at=gone + timedelta(seconds=1))
    await stores.messages.rewrite(new_message_id(), body=None, edited_at=None, deleted_at=gone)
    (shown,) = await stores.messages.after("g-1", 0, 2)
    assert (shown.body, shown.deleted_at, shown.edited_at) == (None, gone, None)


async def test_hiding_is_noted_per_user_and_once(stores: Stores) -> None:
    said = event(1)
    await stores.messages.insert([said])
    for user in ("user2", "user3", "user2"):
        await stores.messages.hide(said.id, user)
    await stores.messages.hide(new_message_id(), "user2")
    (shown,) = await stores.messages.after("g-1", 0, 10)
    assert shown == msgspec.structs.replace(said, hidden_by=["user2", "user3"])


async def test_pins_the_newest_wish_counts(stores: Stores) -> None:
    first, second, elsewhere = event(1), event(2), event(1, chat="g-2")
    await stores.messages.insert([first, second, elsewhere])
    for number, said in enumerate((second, first, elsewhere)):
        await stores.messages.pin(said.id, at=AT + timedelta(seconds=number), pinned=True)
    assert [one.id for one in await stores.messages.pinned("g-1", 10)] == [first.id, second.id]
    assert [one.id for one in await stores.messages.pinned("g-1", 1)] == [first.id]
    later = AT + timedelta(seconds=9)
    await stores.messages.pin(first.id, at=later, pinned=False)
    await stores.messages.pin(first.id, at=AT, pinned=True)  # the first wish, once more: a crash came between
    await stores.messages.pin(new_message_id(), at=later, pinned=True)
    (left,) = await stores.messages.pinned("g-1", 10)
    assert (left.id, left.pinned_at) == (second.id, AT)
    (shown, _) = await stores.messages.after("g-1", 0, 10)
    assert shown.pinned_at is None


async def test_what_is_deleted_or_has_expired_is_no_longer_pinned(stores: Stores) -> None:
    gone, over = event(1), event(2, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    await stores.messages.insert([gone, over])
    for number, said in enumerate((gone, over)):
        await stores.messages.pin(said.id, at=AT + timedelta(seconds=number), pinned=True)
    assert [one.id for one in await stores.messages.pinned("g-1", 10)] == [gone.id]
    await stores.messages.rewrite(gone.id, body=None, edited_at=None, deleted_at=AT)
    await stores.messages.pin(
        gone.id, at=AT + timedelta(seconds=5), pinned=True
    )  # a wish from before, carried out late
    assert await stores.messages.pinned("g-1", 10) == []
    await stores.messages.erase_expired(now=datetime.now(UTC), limit=10)
    assert [one.pinned_at for one in await stores.messages.after("g-1", 0, 10)] == [None, None]


async def test_the_latest_message_is_one_for_everybody(stores: Stores) -> None:
    await stores.messages.insert([event(1), event(2, only="user1")])
    assert (await stores.messages.latest(["g-1"]))["g-1"].seq == 1


async def test_push_marks(stores: Stores) -> None:
    old, older, unmarked = event(1), event(2, at=AT - timedelta(seconds=1)), event(3)
    await stores.messages.insert([old, older, unmarked], push=frozenset({old.id, older.id}))
    messages = stores.messages
    assert await messages.push_pending(older_than=AT, limit=10) == [older.id]
    assert await messages.push_pending(older_than=AT + timedelta(seconds=1), limit=10) == [older.id, old.id]
    assert await messages.push_pending(older_than=AT + timedelta(seconds=1), limit=1) == [older.id]
    assert await messages.push_claim(old.id) == old
    assert await messages.push_claim(unmarked.id) is None
    await messages.push_done(old.id)
    await messages.push_done(old.id)
    assert await messages.push_claim(old.id) is None
    assert await messages.push_pending(older_than=AT + timedelta(seconds=1), limit=10) == [older.id]
    assert await messages.by_ids([old.id]) == {old.id: old}


async def test_a_refused_event_leaves_no_push_mark(stores: Stores) -> None:
    first = event(1)
    await stores.messages.insert([first])
    repeat, late = event(2, id=first.id), event(1)
    await stores.messages.insert([repeat, late], push=frozenset({repeat.id, late.id}))
    assert await stores.messages.push_pending(older_than=AT + timedelta(days=1), limit=10) == []


async def test_what_has_expired_shows_as_deleted_and_keeps_its_slot(stores: Stores) -> None:
    expired = event(2, expires_at=AT + timedelta(seconds=1))
    lasting = event(3, expires_at=datetime.now(UTC).replace(microsecond=0) + timedelta(hours=1))
    await stores.messages.insert([event(1), expired, lasting], push=frozenset({expired.id}))
    assert await stores.messages.by_ids([lasting.id]) == {lasting.id: lasting}

    async def shown() -> tuple[Body | None, datetime | None, datetime | None]:
        (it,) = await stores.messages.after("g-1", 1, 1)
        return it.body, it.deleted_at, it.expires_at

    at_once = await shown()
    assert at_once == (None, AT + timedelta(seconds=1), None)
    assert await stores.messages.erase_expired(now=AT, limit=10) == 0
    assert await stores.messages.erase_expired(now=AT + timedelta(seconds=1), limit=0) == 0
    assert await stores.messages.erase_expired(now=AT + timedelta(seconds=1), limit=10) == 1
    assert await stores.messages.erase_expired(now=AT + timedelta(seconds=1), limit=10) == 0
    assert await shown() == at_once
    assert await stores.messages.push_claim(expired.id) is None
    assert await stores.messages.head("g-1") == Head(3, 3)


@pytest.mark.parametrize("levels", [101, 500])
async def test_data_that_nests_too_deep_is_refused_and_nothing_is_stored(stores: Stores, levels: int) -> None:
    data: Any = "core"
    for level in range(levels):
        data = [data] if level % 2 else {"k": data}
    deep = event(2, body=Body(data=data))
    with pytest.raises(BadInput, match=deep.id) as refusal:
        await stores.messages.insert([event(1), deep])
    assert refusal.value.code == "unstorable"
    assert await stores.messages.head("g-1") == Head()


async def test_data_may_nest_a_hundred_levels(stores: Stores) -> None:
    data: Any = []
    for _ in range(99):
        data = [data]
    deep = event(1, body=Body(data=data))
    wide = event(2, body=Body(data=[[{}] for _ in range(500)]))
    assert await stores.messages.insert([deep, wide]) == [STORED, STORED]
    assert await stores.messages.after("g-1", 0, 2) == [deep, wide]


@pytest.mark.parametrize(
    "body",
    [Body(text="lone \ud800 surrogate"), Body(attachment=Attachment(url="u", content_type="c", size=2**70))],
    ids=["surrogate", "size"],
)
async def test_what_a_document_cannot_hold_is_refused_by_name(stores: Stores, body: Body) -> None:
    odd = event(2, body=body)
    with pytest.raises(BadInput, match=odd.id) as refusal:
        await stores.messages.insert([event(1), odd])
    assert refusal.value.code == "unstorable"
    assert await stores.messages.head("g-1") == Head()


async def test_a_push_that_is_held_is_nobodys_until_then(stores: Stores) -> None:
    message = event(1)
    await stores.messages.insert([message], push=frozenset({message.id}))
    soon = datetime.now(UTC) + timedelta(seconds=60)
    await stores.messages.push_hold(message.id, soon)
    await stores.messages.push_hold(message.id, datetime.now(UTC) - timedelta(seconds=60))
    assert await stores.messages.push_claim(message.id) is None
    assert await stores.messages.push_pending(older_than=soon, limit=10) == []
    assert await stores.messages.push_again(message.id, datetime.now(UTC))
    assert await stores.messages.push_claim(message.id) is not None
    await stores.messages.push_hold(message.id, datetime.now(UTC) - timedelta(seconds=1))
    assert await stores.messages.push_claim(message.id) is not None
    assert await stores.messages.push_pending(older_than=soon, limit=10) == [message.id]
    await stores.messages.push_done(message.id)
    await stores.messages.push_hold(message.id, soon)
    assert await stores.messages.push_claim(message.id) is None
    assert await stores.messages.push_again(message.id, datetime.now(UTC))
    assert await stores.messages.push_claim(message.id) is not None
    assert not await stores.messages.push_again(new_message_id(), datetime.now(UTC))
