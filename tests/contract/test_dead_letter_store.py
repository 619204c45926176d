"""`DeadLetterStore`: P9 keeps everything that is needed to send a message again."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from adapters.stores import Stores
from chat.models import DeadLetter

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def letter(id_: str, **fields: Any) -> DeadLetter:
    defaults = {"topic": "chats/g-1/send/user1", "payload": b"{}", "reason": "invalid_envelope", "tries": 1, "at": AT}
    return DeadLetter(id=id_, **{**defaults, **fields})


async def test_a_letter_comes_back_byte_by_byte(stores: Stores) -> None:
    parked = letter(
        "l1",
        payload=bytes(range(256)) + "안녕".encode(),
        properties={"$where": "1", "a.b": "", "": "빈 이름", "$ref": "x", "ingest": "i-1"},
    )
    await stores.dead_letters.add(parked)
    (back,) = await stores.dead_letters.page()
    assert back == parked
    assert type(back.payload) is bytes


async def test_the_same_id_again_replaces(stores: Stores) -> None:
    await stores.dead_letters.add(letter("l1"))
    await stores.dead_letters.add(letter("l1", tries=2, reason="second"))
    assert await stores.dead_letters.page() == [letter("l1", tries=2, reason="second")]


async def test_letters_page_by_page(stores: Stores) -> None:
    for number in (3, 1, 2, 4):
        await stores.dead_letters.add(letter(f"l{number}"))
    assert await stores.dead_letters.page(limit=3) == [letter("l1"), letter("l2"), letter("l3")]
    assert await stores.dead_letters.page(after="l3", limit=3) == [letter("l4")]
    assert await stores.dead_letters.page(after="l4") == []
    assert await stores.dead_letters.page(limit=0) == []
