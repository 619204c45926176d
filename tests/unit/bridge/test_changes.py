"""Edits, deletes and reactions: rights, `n`, history, repeats."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest

from chat.envelopes import Body
from chat.errors import Unavailable
from chat.ids import new_message_id


async def test_edits_reactions_and_deletes_are_events_that_count_no_message(world: Any) -> None:
    id_ = new_message_id()
    await world.send("c1", "user1", "안녕", id_=id_)
    for user, type_, body in (
        ("user1", "edit", Body(text="안녕!")),
        ("user2", "reaction", Body(emoji="👍🏽")),
        ("user1", "delete", None),
        ("user1", "delete", None),
    ):
        answer = await world.send("c1", user, type=type_, target=id_, body=body)
        assert answer.reason_code == 0
    history = await world.history("c1")
    assert [(one.type, one.seq, one.n) for one in history] == [
        ("message", 1, 1),
        ("edit", 2, 1),
        ("reaction", 3, 1),
        ("delete", 4, 1),
        ("delete", 5, 1),
    ]
    assert history[0].body is None
    assert history[0].deleted_at == history[3].at
    assert [one.type for one in world.fanned("c1")] == [one.type for one in history]


async def test_an_edit_shows_in_history(world: Any) -> None:
    id_ = new_message_id()
    # In one batch: the target is not stored yet when its edits are checked.
    answers = await asyncio.gather(
        world.send("c1", "user1", "하나", id_=id_),
        world.send("c1", "user1", type="edit", target=id_, body=Body(text="둘")),
        world.send("c1", "user1", type="edit", target=id_, body=Body(text="셋")),
    )
    assert {answer.reason_code for answer in answers} == {0}
    history = await world.history("c1")
    assert history[0].body == Body(text="셋")
    assert history[0].edited_at == history[2].at
    assert history[1].at < history[2].at


@pytest.mark.parametrize(
    ("chat", "user", "type_", "code"),
    [
        ("c1", "user2", "edit", "not_yours"),
        ("c1", "user2", "delete", "not_yours"),
        ("c2", "user2", "reaction", "unknown_target"),
        ("c2", "user2", "edit", "unknown_target"),
    ],
)
async def test_rights(world: Any, chat: str, user: str, type_: str, code: str) -> None:
    id_ = new_message_id()
    await world.send("c1", "user1", "원래", id_=id_)
    body = {"edit": Body(text="바꿈"), "delete": None, "reaction": Body(emoji="👍")}[type_]
    answer = await world.send(chat, user, type=type_, target=id_, body=body)
    assert answer.code == code
    assert [one.body for one in await world.history("c1")] == [Body(text="원래")]
    assert await world.history("c2") == []


async def test_targets_that_are_no_live_message(world: Any) -> None:
    id_, edit = new_message_id(), new_message_id()
    await world.send("c1", "user1", id_=id_)
    await world.send("c1", "user1", id_=edit, type="edit", target=id_, body=Body(text="x"))
    assert (await world.send("c1", "user1", type="edit", target=edit, body=Body(text="y"))).code == "unknown_target"
    unknown = await world.send("c1", "user1", type="delete", target=new_message_id(), body=None)
    assert unknown.code == "unknown_target"
    await world.send("c1", "user1", type="delete", target=id_, body=None)
    assert (await world.send("c1", "user1", type="edit", target=id_, body=Body(text="z"))).code == "target_deleted"
    assert (
        await world.send("c1", "user2", type="reaction", target=id_, body=Body(emoji="👍"))
    ).code == "target_deleted"


async def test_a_resent_edit_repairs_history_but_never_undoes_a_newer_one(make_world: Callable[..., Any]) -> None:
    world = await make_world()
    id_, first = new_message_id(), new_message_id()
    await world.send("c1", "user1", "원래", id_=id_)
    rewrite = world.messages.rewrite

    async def lost(*_args: Any, **_kwargs: Any) -> None:
        world.messages.rewrite = rewrite
        raise Unavailable("killed between the event and the rewrite")

    world.messages.rewrite = lost
    await world.send("c1", "user1", id_=first, type="edit", target=id_, body=Body(text="하나"))
    assert (await world.history("c1"))[0].body == Body(text="하나")
    await world.send("c1", "user1", type="edit", target=id_, body=Body(text="둘"))
    await world.send("c1", "user1", id_=first, type="edit", target=id_, body=Body(text="하나"))
    assert (await world.history("c1"))[0].body == Body(text="둘")
    assert len(await world.history("c1")) == 3


async def test_expiry_is_counted_from_the_time_of_storing(world: Any) -> None:
    await world.send("c1", "user1", expires_in=60)
    event = (await world.history("c1"))[0]
    assert (event.expires_at - event.at).total_seconds() == 60
