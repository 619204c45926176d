"""What came back to messages: few are read, many are counted by the database, and both tell what the events tell."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from adapters.mongo.message_reads import MongoReads
from adapters.stores import Stores
from chat import folding
from chat.events import Body, Event
from chat.ids import new_message_id

NOW = datetime.now(UTC).replace(microsecond=0)
PEOPLE = ("bada", "byeol", "haneul")


@pytest.mark.parametrize("few", [200, 0])
async def test_reactions_and_answers(stores: Stores, few: int) -> None:
    if isinstance(stores.messages, MongoReads):
        stores.messages.few = few
    rng = random.Random(3)  # noqa: S311 - the same in each run
    said = [Event("message", new_message_id(), "g-1", n, n, "bada", NOW, body=Body(text="말")) for n in range(1, 9)]
    back: list[Event] = []
    for seq in range(9, 90):
        event = Event("message", new_message_id(), "g-1", seq, seq, rng.choice(PEOPLE), NOW)
        event.only = rng.choice((None, None, None, "byeol"))
        if rng.random() < 0.3:
            event.reply_to, event.body = rng.choice(said).id, Body(text="답")
        else:
            event.type, event.target = rng.choice(("reaction", "reaction", "unreact", "edit")), rng.choice(said).id
            event.body = (
                Body(emoji=rng.choice(("👍", "🌊", ""))) if event.type in ("reaction", "unreact") else Body(text="고침")
            )
            event.expires_at = rng.choice((None, None, NOW - timedelta(hours=1), NOW + timedelta(hours=1)))
        back.append(event)
    await stores.messages.insert([*said, *back])
    for viewer in ("byeol", "haneul"):
        for event in back:
            folding.expire(event, NOW)
        asked = [event.id for event in said[:6]]
        defined, found = folding.echoes(back, viewer), await stores.messages.echoes("g-1", asked, viewer)
        assert found.replies == {id_: count for id_, count in defined.replies.items() if id_ in asked}
        assert found.reactions == {id_: rows for id_, rows in defined.reactions.items() if id_ in asked}
        assert found.reactions
        assert found.replies
