"""`DeadLetterStore`: P9 keeps everything that is needed to send a message again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from adapters.stores import Stores
from chat.models import DeadLetter, LetterEvent
from chat.ports import MAX_LETTER_HISTORY

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def letter(id_: str, **fields: Any) -> DeadLetter:
    defaults = {"topic": "chats/g-1/send/user1", "payload": b"{}", "reason": "invalid_envelope", "tries": 1, "at": AT}
    return DeadLetter(id=id_, **{**defaults, **fields})


def parked(id_: str, **fields: Any) -> DeadLetter:
    """A letter as it comes back after it was parked once."""
    found = letter(id_, **fields)
    found.history = [LetterEvent(found.at, "parked", found.reason)]
    return found


async def test_a_letter_comes_back_byte_by_byte(stores: Stores) -> None:
    fields: dict[str, Any] = {
        "payload": bytes(range(256)) + "안녕".encode(),
        "properties": {"$where": "1", "a.b": "", "": "빈 이름", "$ref": "x", "ingest": "i-1"},
        "content_type": "application/octet-stream",
    }
    await stores.dead_letters.add(letter("l1", **fields))
    (back,) = await stores.dead_letters.page()
    assert back == await stores.dead_letters.get("l1") == parked("l1", **fields)
    assert type(back.payload) is bytes


async def test_the_same_id_again_replaces_all_but_the_history(stores: Stores) -> None:
    await stores.dead_letters.add(letter("l1"))
    replayed = LetterEvent(AT, "replayed", by="admin")
    assert await stores.dead_letters.note("l1", replayed)
    await stores.dead_letters.add(letter("l1", tries=2, reason="second"))
    again = letter("l1", tries=2, reason="second")
    again.history = [LetterEvent(AT, "parked", "invalid_envelope"), replayed, LetterEvent(AT, "parked", "second")]
    assert await stores.dead_letters.page() == [again]


async def test_a_history_is_bounded(stores: Stores) -> None:
    await stores.dead_letters.add(letter("l1"))
    for number in range(MAX_LETTER_HISTORY + 1):
        await stores.dead_letters.note("l1", LetterEvent(AT, "refused", str(number)))
    found = await stores.dead_letters.get("l1")
    assert found is not None
    assert [line.detail for line in found.history] == [str(n) for n in range(1, MAX_LETTER_HISTORY + 1)]


async def test_a_letter_is_dropped_once(stores: Stores) -> None:
    await stores.dead_letters.add(letter("l1"))
    await stores.dead_letters.add(letter("l2"))
    assert await stores.dead_letters.drop("l1")
    assert not await stores.dead_letters.drop("l1")
    assert await stores.dead_letters.get("l1") is None
    assert not await stores.dead_letters.note("l1", LetterEvent(AT, "replayed"))
    assert await stores.dead_letters.page() == [parked("l2")]


async def test_letters_page_by_page(stores: Stores) -> None:
    for number in (3, 1, 2, 4):
        await stores.dead_letters.add(letter(f"l{number}"))
    assert await stores.dead_letters.page(limit=3) == [parked("l1"), parked("l2"), parked("l3")]
    assert await stores.dead_letters.page(after="l3", limit=3) == [parked("l4")]
    assert await stores.dead_letters.page(after="l4") == []
    assert await stores.dead_letters.page(limit=0) == []


async def test_which_of_many_there_are(stores: Stores) -> None:
    for name in ("l1", "l2"):
        await stores.dead_letters.add(letter(name))
    assert await stores.dead_letters.among(["l2", "l3", "l2"]) == {"l2"}
    assert await stores.dead_letters.among([]) == set()


async def test_jobs_are_letters_too_and_counted_by_kind(stores: Stores) -> None:
    assert await stores.dead_letters.counts() == {}
    job = {"kind": "job", "job": "pabal.push.event", "args": ["m1"], "topic": ""}
    await stores.dead_letters.add(letter("job:1", **job))
    await stores.dead_letters.add(letter("push:1", kind="push"))
    await stores.dead_letters.add(letter("l1"))
    await stores.dead_letters.add(letter("l2"))
    assert await stores.dead_letters.get("job:1") == parked("job:1", **job)
    assert await stores.dead_letters.counts() == {"message": 2, "push": 1, "job": 1}
