"""Hiding, pinning, forwarding, answering, calling, system events: rights, ages, and what history shows to whom."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest

from chat import topics, views
from chat.envelopes import Body, Event, Send, System, encode
from chat.errors import Unavailable
from chat.ids import direct_chat_id, new_message_id
from chat.models import Chat, ChatKind, Member, Role

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


@pytest.fixture
async def said(world: Any) -> Event:
    """A message of user1 in c1, in which user2 is an admin."""
    await world.stores.chats.set_role("c1", "user2", Role.ADMIN)
    assert (await world.send("c1", "user1", "안녕하세요")).reason_code == 0
    (event,) = await world.history("c1")
    return event  # type: ignore[no-any-return]


async def do(world: Any, user: str, type_: str, target: str, chat: str = "c1", **fields: Any) -> str | None:
    """The code of the answer; None when it was taken."""
    fields.setdefault("body", None)
    answer = await world.send(chat, user, type=type_, target=target, **fields)
    assert (answer.reason_code >= 0x80) == (answer.code is not None)
    return answer.code  # type: ignore[no-any-return]


async def message(world: Any, target: str) -> Event:
    found = (await world.stores.messages.by_ids([target]))[target]
    return msgspec.json.decode(msgspec.json.encode(found), type=Event)


def own(world: Any, user: str) -> list[Event]:
    """Events on the inbox of a user."""
    letters = world.inbox(user)
    return [msgspec.convert(one, Event, strict=False) for one in letters if "seq" in one]


# -- hide ----------------------------------------------------------------------------------------------------------------


async def test_what_is_hidden_is_gone_for_one_and_there_for_the_others(world: Any, said: Event) -> None:
    assert await do(world, "user2", "hide", said.id) is None
    assert await do(world, "user2", "hide", said.id) is None  # fulfilled already
    stored = await message(world, said.id)
    assert views.seen_by(stored, "user1").body == stored.body is not None
    mine = views.seen_by(stored, "user2")
    assert (mine.body, mine.hidden, mine.seq, mine.hidden_by) == (None, True, said.seq, [])
    history = await world.history("c1")
    assert [(event.type, event.seq, event.n) for event in history] == [
        ("message", 1, 1),
        ("hide", 2, 1),
        ("hide", 3, 1),
    ]
    assert [views.seen_by(event, "user1").type for event in history] == ["message", "void", "void"]
    assert [views.seen_by(event, "user2").type for event in history] == ["message", "hide", "hide"]


async def test_only_the_one_who_hides_is_told_and_the_order_stays_dense(world: Any, said: Event) -> None:
    await do(world, "user2", "hide", said.id)
    await world.send("c1", "user1", "다음")
    told = world.fanned("c1")
    assert [(event.type, event.seq) for event in told] == [("message", 1), ("void", 2), ("message", 3)]
    assert "user2" not in encode(told[1]).decode()
    (mine,) = own(world, "user2")
    assert (mine.type, mine.seq, mine.target, mine.sender, mine.only) == ("hide", 2, said.id, "user2", None)
    assert not own(world, "user1")
    inbox = next(n for n, sent in enumerate(world.broker.sent) if sent.topic == topics.inbox("user2"))
    void = next(n for n, sent in enumerate(world.broker.sent) if b'"void"' in sent.payload)
    assert inbox < void, "whoever reads both takes the one that says something"


async def test_sync_shows_each_what_is_theirs(world: Any, said: Event) -> None:
    await do(world, "user2", "hide", said.id)
    for user in ("user1", "user2"):
        await world.publish(topics.sync(user), {"cursors": {"c1": 0}})
    pages = {user: next(one for one in world.inbox(user) if one["type"] == "sync") for user in ("user1", "user2")}
    assert [(event["type"], "body" in event) for event in pages["user1"]["events"]] == [
        ("message", True),
        ("void", False),
    ]
    assert [(event["type"], event.get("hidden")) for event in pages["user2"]["events"]] == [
        ("message", True),
        ("hide", None),
    ]
    assert "hidden_by" not in str(pages)
    assert "'only'" not in str(pages)


async def test_what_somebody_has_cleared_comes_without_words_and_leaves_no_gap(world: Any, said: Event) -> None:
    """Somebody else's own event stays a `void`, also below the point up to which it is cleared."""
    await do(world, "user2", "hide", said.id)
    await world.send("c1", "user2", "둘")
    await world.stores.chats.clear("c1", "user1", 2)
    pages = {}
    for user in ("user1", "user2"):
        await world.publish(topics.sync(user), {"cursors": {"c1": 0}})
        pages[user] = next(one for one in world.inbox(user) if one["type"] == "sync")
    mine = [
        (event["seq"], event["type"], "body" in event, event.get("hidden", False)) for event in pages["user1"]["events"]
    ]
    assert mine == [(1, "message", False, True), (2, "void", False, False), (3, "message", True, False)]
    assert [event["seq"] for event in pages["user2"]["events"]] == [1, 2, 3]
    assert pages["user1"]["next"] == pages["user1"]["last"] == 3


async def test_who_only_reads_hides_messages_from_themselves_and_does_nothing_else(world: Any, said: Event) -> None:
    await world.stores.chats.add_member(Member("c1", "dora", Role.READER, NOW))
    assert await do(world, "dora", "hide", said.id) is None
    assert views.seen_by(await message(world, said.id), "dora").hidden
    (told,) = own(world, "dora")
    assert (told.type, told.target) == ("hide", said.id)
    for type_ in ("delete", "reaction", "pin", "edit", "message"):
        wish = {"target": said.id} if type_ != "message" else {}
        body = Body(emoji="👍") if type_ == "reaction" else Body(text="x") if type_ in ("edit", "message") else None
        answer = await world.send("c1", "dora", type=type_, body=body, **wish)
        assert answer.code == "not_a_writer", type_
    assert await do(world, "stranger", "hide", said.id) == "not_a_writer"


# -- pin -----------------------------------------------------------------------------------------------------------------


async def test_who_manages_a_group_pins(world: Any, said: Event) -> None:
    assert await do(world, "user1", "pin", said.id) == "not_a_manager"
    assert await do(world, "user2", "pin", said.id) is None
    pinned = await message(world, said.id)
    assert pinned.pinned_at is not None
    assert [event.id for event in await world.stores.messages.pinned("c1", 10)] == [said.id]
    assert await do(world, "user2", "unpin", said.id) is None
    assert (await message(world, said.id)).pinned_at is None
    assert await do(world, "user2", "pin", said.id) is None
    assert [event.type for event in world.fanned("c1")] == ["message", "pin", "unpin", "pin"]
    assert await do(world, "user1", "delete", said.id) is None
    assert await do(world, "user2", "pin", said.id) == "target_deleted"
    assert await do(world, "user2", "unpin", said.id) is None


async def test_a_reaction_is_taken_back(world: Any, said: Event) -> None:
    heart = Body(emoji="❤️")
    for type_ in ("reaction", "unreact", "unreact", "reaction"):
        assert await do(world, "user2", type_, said.id, body=heart) is None
    told = world.fanned("c1")[1:]
    assert [(event.type, event.n, event.sender) for event in told] == [
        (type_, 1, "user2") for type_ in ("reaction", "unreact", "unreact", "reaction")
    ]
    assert {(event.target, event.body and event.body.emoji) for event in told} == {(said.id, "❤️")}
    assert (await message(world, said.id)).body == said.body
    # What it is about must be there, as for the reaction; but from what was deleted something may still be taken away.
    assert await do(world, "user2", "unreact", told[0].id, body=heart) == "unknown_target"
    assert await do(world, "user2", "unreact", said.id, chat="c2", body=heart) == "unknown_target"
    assert await do(world, "user1", "unreact", new_message_id(), body=heart) == "unknown_target"
    assert await do(world, "user1", "delete", said.id) is None
    assert await do(world, "user2", "reaction", said.id, body=heart) == "target_deleted"
    assert await do(world, "user2", "unreact", said.id, body=heart) is None


async def test_both_pin_in_a_direct_chat(world: Any) -> None:
    chat = direct_chat_id("user1", "user2")
    members = [Member(chat, user, Role.MEMBER, NOW) for user in ("user1", "user2")]
    await world.stores.chats.create(Chat(chat, ChatKind.DIRECT, NOW, "user1"), members)
    await world.send(chat, "user1")
    (event,) = await world.history(chat)
    assert await do(world, "user2", "pin", event.id, chat) is None


async def test_a_pin_that_was_stored_but_not_carried_out_is_carried_out_with_its_repeat(
    world: Any, said: Event
) -> None:
    real, id_ = world.messages.pin, new_message_id()

    async def away(*_args: Any, **_fields: Any) -> None:
        world.messages.pin = real
        raise Unavailable("away")

    world.messages.pin = away
    assert await do(world, "user2", "pin", said.id, id_=id_) is None
    assert (await message(world, said.id)).pinned_at is not None
    assert await do(world, "user2", "unpin", said.id) is None
    assert await do(world, "user2", "pin", said.id, id_=id_) is None  # an old wish
    assert (await message(world, said.id)).pinned_at is None


# -- delete and edit: rights and ages ------------------------------------------------------------------------------------


async def test_who_manages_a_group_deletes_what_others_said_but_never_edits_it(world: Any, said: Event) -> None:
    assert await do(world, "user2", "edit", said.id, body=Body(text="다른 말")) == "not_yours"
    assert await do(world, "user2", "delete", said.id) is None
    assert (await message(world, said.id)).body is None
    await world.send("c1", "user2", "내 말")
    mine = (await world.history("c1"))[-1]
    assert await do(world, "user1", "delete", mine.id) == "not_yours"


async def test_what_is_old_stays_as_it_is(world: Any, said: Event) -> None:
    old = Event(
        "message",
        new_message_id(),
        "c1",
        2,
        2,
        "user1",
        datetime.now(UTC) - timedelta(hours=49),
        body=Body(text="옛말"),
    )
    await world.stores.messages.insert([old])
    assert await do(world, "user1", "edit", old.id, body=Body(text="새말")) == "too_old"
    assert await do(world, "user1", "delete", old.id) == "too_old"
    assert await do(world, "user1", "reaction", old.id, body=Body(emoji="👍")) is None
    assert await do(world, "user1", "hide", old.id) is None
    assert await do(world, "user2", "delete", old.id) is None, "who moderates has no such bound"
    assert said.seq == 1


async def test_ages_are_settings(make_world: Any) -> None:
    world = await make_world(bridge_edit_within=0, bridge_delete_within=3_600)
    old = Event(
        "message",
        new_message_id(),
        "c1",
        1,
        1,
        "user1",
        datetime.now(UTC) - timedelta(days=400),
        body=Body(text="옛말"),
    )
    await world.stores.messages.insert([old])
    assert await do(world, "user1", "edit", old.id, body=Body(text="새말")) is None
    assert await do(world, "user1", "delete", old.id) == "too_old"


# -- forward -------------------------------------------------------------------------------------------------------------


async def test_a_forward_is_a_message_that_names_its_source(world: Any, said: Event) -> None:
    assert await do(world, "user2", "forward", said.id, "c2") is None
    (copy,) = await world.history("c2")
    assert (copy.type, copy.n, copy.sender, copy.body, copy.target) == ("message", 1, "user2", said.body, None)
    assert copy.forwarded is not None
    assert (copy.forwarded.id, copy.forwarded.sender, copy.forwarded.at) == (said.id, "user1", said.at)
    assert "c1" not in encode(copy).decode().replace(copy.id, "").replace(said.id, "")
    assert await do(world, "user2", "forward", copy.id, "c1") is None
    again = (await world.history("c1"))[-1]
    assert again.forwarded == copy.forwarded, "the first author, not the one between"


async def test_what_one_can_not_read_one_can_not_forward(world: Any, said: Event) -> None:
    async def refused(source: str, user: str = "user2", chat: str = "c2") -> str | None:
        return await do(world, user, "forward", source, chat)

    assert await refused(said.id, "user3") == "unknown_target"
    assert await refused(new_message_id()) == "unknown_target"
    await do(world, "user1", "reaction", said.id, body=Body(emoji="👍"))
    assert await refused((await world.history("c1"))[-1].id) == "unknown_target"
    await world.send("c1", "user1", body=Body(cipher="…"))
    assert await refused((await world.history("c1"))[-1].id) == "encrypted"
    await do(world, "user2", "hide", said.id)
    assert await refused(said.id) == "unknown_target"
    await world.send("c1", "user1", "지울 말")
    gone = (await world.history("c1"))[-1]
    await do(world, "user1", "delete", gone.id)
    assert await refused(gone.id) == "target_deleted"
    await world.stores.chats.remove_member("c1", "user2", NOW)
    world.bridge.members.apply(None)
    await world.stores.chats.add_member(Member("c1", "user9", Role.MEMBER, NOW))
    assert await refused(said.id) == "unknown_target"
    assert not await world.history("c2")


async def test_the_repeat_of_a_forward_whose_source_is_gone(world: Any, said: Event) -> None:
    id_ = new_message_id()
    assert await do(world, "user2", "forward", said.id, "c2", id_=id_) is None
    await do(world, "user1", "delete", said.id)
    assert await do(world, "user2", "forward", said.id, "c2", id_=id_) is None
    (copy,) = await world.history("c2")
    assert copy.body == Body(text="안녕하세요")


async def test_a_forward_goes_through_the_filters(make_world: Any, tmp_path: Any) -> None:
    words = tmp_path / "words.txt"
    words.write_text("바보")
    world = await make_world(bridge_words_file=words)
    await world.send("c1", "user1", "시발")
    (said,) = await world.history("c1")
    words.write_text("시발이라는 말\n시발")
    await world.bridge.filters.refresh()
    assert await do(world, "user2", "forward", said.id, "c2") == "blocked_word"


# -- answers and calls ---------------------------------------------------------------------------------------------------


async def test_an_answer_names_a_message_of_the_chat(world: Any, said: Event) -> None:
    assert (await world.send("c1", "user2", "네", reply_to=said.id)).reason_code == 0
    assert (await world.history("c1"))[-1].reply_to == said.id
    assert (await world.send("c2", "user2", "네", reply_to=said.id)).code == "unknown_target"
    assert (await world.send("c1", "user2", "네", reply_to=new_message_id())).code == "unknown_target"


async def test_only_who_is_there_is_called(world: Any) -> None:
    await world.send("c1", "user1", "@user2 @user3", mentions=["user2", "user3"])
    (event,) = await world.history("c1")
    assert event.mentions == ["user2"]
    assert (await world.send("c1", "user1", "@", mentions=["$where"])).code == "invalid_envelope"


# -- system --------------------------------------------------------------------------------------------------------------


async def test_a_service_tells_a_chat_what_has_changed(world: Any, said: Event) -> None:
    renamed = Send(new_message_id(), "system", system=System("renamed", "user1", title="주말 등산"))
    assert (await world.send("c1", "svc-api", raw=encode(renamed))).reason_code == 0
    assert (await world.send("c1", "svc-api", raw=encode(renamed))).reason_code == 0
    event = (await world.history("c1"))[-1]
    assert (event.type, event.seq, event.n, event.system) == ("system", 2, said.n, renamed.system)
    elsewhere = Send(new_message_id(), "system", system=System("left", "user1", ["user1"]))
    assert (await world.send("nowhere", "svc-api", raw=encode(elsewhere))).code == "unknown_chat"
    assert (await world.send("c1", "user1", raw=encode(elsewhere))).code == "invalid_envelope"
    assert (await world.send("c1", "svc-api", raw=encode(Send(new_message_id())))).code == "invalid_envelope"
    assert await do(world, "user2", "reaction", event.id, body=Body(emoji="👍")) == "unknown_target"


# -- shadow ban ----------------------------------------------------------------------------------------------------------


async def test_a_shadow_banned_sender_talks_to_themselves(make_world: Any, tmp_path: Any) -> None:
    banned = tmp_path / "banned.txt"
    banned.write_text("# nobody yet\n")
    world = await make_world(bridge_shadow_file=banned)
    await world.send("c1", "user1", "보이는 말")
    (before,) = await world.history("c1")
    banned.write_text("user1\n")
    await world.bridge.filters.refresh()
    for text in ("광고", "광고!"):
        assert (await world.send("c1", "user1", text)).reason_code == 0
    assert await do(world, "user1", "edit", before.id, body=Body(text="광고로 바꾼 말")) is None
    history = await world.history("c1")
    shadow = history[1]
    assert [(event.seq, event.n) for event in history] == [(1, 1), (2, 1), (3, 1), (4, 1)], "they count as no messages"
    assert history[0].body == Body(text="보이는 말"), "what others see stays"
    assert [views.seen_by(event, "user2").type for event in history] == ["message", "void", "void", "void"]
    assert [views.seen_by(event, "user1").body for event in history[1:3]] == [Body(text="광고"), Body(text="광고!")]
    assert [event.type for event in world.fanned("c1")] == ["message", "void", "void", "void"]
    assert [event.seq for event in own(world, "user1")] == [2, 3, 4]
    assert not any(
        "광고" in sent.payload.decode()
        for sent in world.broker.sent
        if sent.topic != topics.inbox("user1") and "/send/" not in sent.topic
    )
    assert len(world.jobs.jobs) == 1, "nobody is woken for it"
    assert world.count("shadowed") == 3
    for type_, body in (("reaction", Body(emoji="👍")), ("hide", None)):
        assert await do(world, "user2", type_, shadow.id, body=body) == "unknown_target"
    assert (await world.send("c1", "user2", "네?", reply_to=shadow.id)).code == "unknown_target"
    assert await do(world, "user2", "forward", shadow.id, "c2") == "unknown_target"
    assert await do(world, "user1", "edit", shadow.id, body=Body(text="새 광고")) is None
    assert (await message(world, shadow.id)).body == Body(text="새 광고")
    banned.write_text("")
    await world.bridge.filters.refresh()
    assert (await world.send("c1", "user1", "다시 보이는 말")).reason_code == 0
    assert world.fanned("c1")[-1].body == Body(text="다시 보이는 말")


async def test_the_repeat_of_a_shadowed_message_stays_in_the_shadow(make_world: Any, tmp_path: Any) -> None:
    banned = tmp_path / "banned.txt"
    banned.write_text("user1")
    world, id_ = await make_world(bridge_shadow_file=banned), new_message_id()
    await world.send("c1", "user1", "광고", id_=id_)
    banned.write_text("somebody-else\n")
    await world.bridge.filters.refresh()
    other = await make_world(world.stores, world.broker, bridge_shadow_file=banned)  # a bridge that remembers nothing
    assert (await world.send("c1", "user1", "광고", id_=id_)).reason_code == 0
    assert {event.type for event in world.fanned("c1")} == {"void"}
    assert {event.seq for event in own(world, "user1")} == {1}
    del other
