"""Every query of the MongoDB stores runs on an index, and none sorts in memory: asked of the database itself.

The commands are those that the stores really send: a listener writes them down, then each is explained.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from adapters.mongo import connect, migrate, stores_of
from adapters.mongo.client import Database
from adapters.stores import Stores
from chat.audit import AuditEntry, AuditSearch
from chat.envelopes import Body, Event, System
from chat.ids import new_message_id
from chat.models import (
    Chat,
    ChatKind,
    DeadLetter,
    Device,
    Grant,
    Head,
    Member,
    Notice,
    PushToken,
    Receipt,
    Role,
    SecondFactor,
    ServiceAccount,
    User,
    Watermarks,
)
from chat.people import Block, Contact, InvitationLink, JoinRequest
from chat.push_preferences import PushPreferences
from chat.statistics import Span

AT = datetime.now(UTC)
IDS = [new_message_id() for _ in range(60)]
EXPLAINABLE = {"find", "aggregate", "update", "delete"}
# What belongs to the connection or transaction, not to the question.
ENVELOPE = {
    "startTransaction",
    "autocommit",
    "$db",
    "lsid",
    "$clusterTime",
    "$readPreference",
    "txnNumber",
    "readConcern",
    "writeConcern",
    "maxTimeMS",
}


class Recorder(CommandListener):
    """Writes down every command that can be explained."""

    def __init__(self) -> None:
        self.commands: list[dict[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name in EXPLAINABLE:
            self.commands.append({key: value for key, value in event.command.items() if key not in ENVELOPE})

    def succeeded(self, event: CommandSucceededEvent) -> None:
        pass

    def failed(self, event: CommandFailedEvent) -> None:
        pass

    def take(self) -> list[dict[str, Any]]:
        """What was asked since the last time, one update or delete per command (more can't be explained)."""
        taken, self.commands = self.commands, []
        return [single for command in taken for single in _singles(command)]


def _singles(command: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for name in ("updates", "deletes"):
        if name in command:
            yield from ({**command, name: [one]} for one in command[name])
            return
    yield command


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
async def db(recorder: Recorder, mongo_url: str, mongo_database: str) -> AsyncIterator[Database]:
    """A database with a little of everything, so that the planner has something to weigh."""
    database = connect(mongo_url, mongo_database, listeners=[recorder])
    await migrate(database)
    stores = stores_of(database)
    for chat in ("g-1", "g-2", "g-3"):
        members = [Member(chat, f"user{number}", Role.MEMBER, AT) for number in range(30)]
        await stores.chats.create(Chat(chat, ChatKind.GROUP, AT, "user1"), members)
        await stores.messages.insert([_event(seq, chat) for seq in range(1, 61)], push=frozenset(IDS))
        await stores.receipts.append(
            [
                Receipt(chat=chat, user=f"user{number}", kind=kind, seq=seq, at=AT)
                for number in range(20)
                for kind in ("delivered", "seen")
                for seq in range(1, 61)
            ]
        )
    for number in range(5):
        await stores.users.add(User(f"user{number}", "", "", AT))
        await stores.devices.add(Device(f"dev-{number}", f"user{number % 3}", "", "", AT))
        await stores.dead_letters.add(DeadLetter(f"l{number}", "", b"", "", 1, AT))
        account = ServiceAccount(f"svc-{number}", "x", ["introspect"], "ab" * 32, AT, "root")
        await stores.service_accounts.add(account)
        await stores.second_factors.begin(SecondFactor(f"user{number}", "sealed", AT))
        await stores.grants.add(Grant(f"s{number}", "user1", f"t{number}", AT, AT + timedelta(days=1), [f"p{number}"]))
        await stores.push_tokens.put(PushToken(f"token{number}", f"user{number % 3}", "web", AT))
        await stores.push_preferences.put(PushPreferences(f"user{number}"))
    await stores.notices.add(Notice("n1", "g-1", System("left", "user1"), AT))
    await _populate_people(stores)
    recorder.take()
    yield database
    await database.client.close()


async def _populate_people(stores: Stores) -> None:
    for number in range(6):
        await stores.contacts.put(Contact(f"user{number % 3}", f"user{number}", AT))
        await stores.blocks.put(Block(f"user{number % 3}", f"user{number}", AT))
        await stores.invitations.add(_link(number))
        request = JoinRequest(f"g-{number % 3}", f"guest{number}", f"inv-{number}", Role.MEMBER, AT)
        await stores.invitations.ask(request, now=AT, most=99)


def _link(number: int) -> InvitationLink:
    when = AT + timedelta(seconds=number)
    return InvitationLink(
        f"inv-{number}", f"g-{number % 3}", f"h{number}", Role.MEMBER, "user1", when, AT + timedelta(1)
    )


def _event(seq: int, chat: str) -> Event:
    return Event(
        type="message" if seq % 3 else "reaction",
        id=IDS[seq - 1] if chat == "g-1" else new_message_id(),
        chat=chat,
        seq=seq,
        n=seq,
        sender="user1",
        at=AT,
        body=Body(text="x"),
        expires_at=AT if seq == 7 else None,
        target=None if seq % 3 else IDS[seq % 7],
        reply_to=IDS[seq % 5] if seq % 3 == 1 else None,
    )


async def _all(*calls: Awaitable[object]) -> None:
    """One after the other."""
    for call in calls:
        await call


async def _counted(stores: Stores) -> None:
    """Read roll-ups when there are some."""
    now = datetime.now(UTC)  # not AT, which is when the tests were collected
    await stores.statistics.roll_up(now=now + timedelta(minutes=5), limit=200)
    await stores.statistics.figures(Span.HOUR, since=now - timedelta(days=1), until=now)


CALLS: dict[str, Callable[[Stores], Awaitable[object]]] = {
    "by_ids": lambda s: s.messages.by_ids(IDS[:3]),
    "head": lambda s: s.messages.head("g-1"),
    "heads": lambda s: s.messages.heads(["g-1", "g-2", "g-3"]),
    "latest": lambda s: s.messages.latest(["g-1", "g-2", "g-3"]),
    "after": lambda s: s.messages.after("g-1", 10, 20),
    "before": lambda s: s.messages.before("g-1", 30, 20),
    "newest": lambda s: s.messages.before("g-1", None, 20),
    "n_at": lambda s: s.messages.n_at("g-1", [3, 5, 8]),
    "slots": lambda s: s.messages.slots("g-1", 20, 30),
    "renumber": lambda s: s.messages.renumber("g-1", {3: 3, 5: 5}),
    "edit": lambda s: s.messages.rewrite(IDS[0], body=Body(text="y"), edited_at=AT, deleted_at=None),
    "delete": lambda s: s.messages.rewrite(IDS[0], body=None, edited_at=None, deleted_at=AT),
    "hide": lambda s: s.messages.hide(IDS[0], "user1"),
    "pin": lambda s: s.messages.pin(IDS[0], at=AT, pinned=True),
    "pinned": lambda s: s.messages.pinned("g-1", 10),
    "times": lambda s: s.messages.times("g-1", [3, 20, 40]),
    "typed": lambda s: s.messages.typed("g-1", ["message"], "user1", above=5, below=50, limit=10, newest=True),
    "replies": lambda s: s.messages.replies("g-1", IDS[0], "user1", above=3, limit=10),
    "echoes": lambda s: s.messages.echoes("g-1", IDS[:20], "user1"),
    "opening": lambda s: s.openings.opening("g-1", members=10, first=40),
    "opening_signed_in": lambda s: s.openings.opening("g-1", members=10, first=40, sign_in=("s1", "user1")),
    "opening_below": lambda s: s.openings.below("g-1", members=10, before=40, limit=20, sign_in=("s1", "user1")),
    "sign_ins": lambda s: s.sign_ins.holding([("s1", "user1"), ("s2", "user2")]),
    "clear": lambda s: s.chats.clear("g-1", "user1", 3),
    "cleared": lambda s: s.chats.cleared("user1", ["g-1", "g-2"]),
    "crowds": lambda s: s.chats.crowds("g-1", 5, 50),
    "push_pending": lambda s: s.messages.push_pending(older_than=AT + timedelta(1), limit=10),
    "push_claim": lambda s: s.messages.push_claim(IDS[0]),
    "push_claims": lambda s: s.messages.push_claims(IDS[:3]),
    "push_newer": lambda s: s.messages.push_newer({"g-1": 50, "g-2": 40, "g-3": 59}, limit=20),
    "push_again": lambda s: s.messages.push_again(IDS[0], AT),
    "push_done": lambda s: s.messages.push_done(IDS[0]),
    "erase_expired": lambda s: s.messages.erase_expired(now=AT, limit=10),
    "chat": lambda s: s.chats.get("g-1"),
    "chats": lambda s: s.chats.get_many(["g-1", "g-2"]),
    "touch": lambda s: s.chats.touch({"g-1": (Head(1, 1), AT)}),
    "rename": lambda s: s.chats.rename("g-1", "산"),
    "set_role": lambda s: s.chats.set_role("g-1", "user1", Role.ADMIN),
    "member": lambda s: s.chats.member("g-1", "user1"),
    "members": lambda s: s.chats.members("g-1"),
    "members_page": lambda s: s.chats.members("g-1", after="user10", limit=5),
    "members_by_chat": lambda s: s.chats.members_by_chat(["g-1", "g-2"]),
    "memberships": lambda s: s.chats.memberships("user1"),
    "memberships_among": lambda s: s.chats.memberships_among([("g-1", "user1"), ("g-2", "user2")]),
    "share_chat": lambda s: s.chats.share_chat("user1", "user2"),
    "add_member": lambda s: s.chats.add_member(Member("g-1", "user1", Role.MEMBER, AT)),
    "set_hides_seen": lambda s: s.chats.set_hides_seen("user1", hides=True),
    "count_reached": lambda s: s.chats.reached("g-1", 5),
    "scan": lambda s: s.chats.scan(after=("g-1", "user1"), limit=10),
    "correct": lambda s: s.chats.correct(
        Member("g-1", "user1", Role.MEMBER, AT), Member("g-1", "user1", Role.MEMBER, AT)
    ),
    "hiding": lambda s: s.users.hiding(["user1"]),
    "hide_seen": lambda s: s.users.set_hides_seen("user1", hides=True),
    "remove_member": lambda s: s.chats.remove_member("g-1", "user1", AT),
    "raise_watermarks": lambda s: s.chats.raise_watermarks([Watermarks("g-1", "user1", 1, 1, 1)]),
    "raise_many": lambda s: s.chats.raise_watermarks([Watermarks("g-1", f"user{k}", 1, 1, 1) for k in range(1, 4)]),
    "reached": lambda s: s.receipts.reached("g-1", 20, 30),
    "user": lambda s: s.users.get("user1"),
    "existing": lambda s: s.users.existing(["user1", "user2"]),
    "owned_by": lambda s: s.devices.owned_by("user1"),
    "by_token": lambda s: s.grants.by_token("t3"),
    "rotate": lambda s: s.grants.rotate(
        "s1", spent="t1", fresh="t1b", expires_at=AT + timedelta(days=1), at=AT, address="192.0.2.1"
    ),
    "grant": lambda s: s.grants.get("s1"),
    "grants_of_user": lambda s: s.grants.of_user("user1", limit=3),
    "revoke_all": lambda s: s.grants.revoke_all("user1", AT, keep="s1"),
    "by_identity": lambda s: s.users.by_identity("ab" * 32),
    "set_password": lambda s: s.users.set_password("user1", was="", now="x"),
    "service_accounts": lambda s: s.service_accounts.page(after="svc-a", limit=3),
    "second_factor": lambda s: s.second_factors.use_step("user1", 7),
    "revoke": lambda s: s.grants.revoke("s1", AT),
    "alive": lambda s: s.grants.alive(["s1", "s2"]),
    "put_token": lambda s: s.push_tokens.put(PushToken("token1", "user2", "web", AT)),
    "tokens_of_users": lambda s: s.push_tokens.of_users(["user1", "user2"]),
    "held_tokens": lambda s: s.push_tokens.held(["token1", "token2"]),
    "hold_token": lambda s: s.push_tokens.hold("token1", until=AT, failures=1),
    "push_preferences": lambda s: s.push_preferences.of_users(["user1", "user2"]),
    "unread": lambda s: s.chats.unread(["user1", "user2"], heads={"g-1": 60}),
    "drop_token": lambda s: s.push_tokens.drop("token1"),
    "notices": lambda s: s.notices.of_chat("g-1", 10),
    "notices_after": lambda s: s.notices.after(("g-1", "n1"), 10),
    "told": lambda s: s.notices.drop(Notice("n1", "g-1", System("left", "user1"), AT)),
    "contacts": lambda s: _all(
        s.contacts.put(Contact("user1", "user2", AT)),
        s.contacts.page("user1", after="user1", limit=5),
        s.contacts.count("user1"),
        s.contacts.among([("user1", "user2")]),
        s.contacts.drop("user1", "user2"),
    ),
    "blocks": lambda s: _all(
        s.blocks.page("user1", after="user1", limit=5),
        s.blocks.count("user1"),
        s.blocks.among([("user1", "user2"), ("user2", "user1")]),
        s.blocks.drop("user1", "user2"),
    ),
    "profiles": lambda s: _all(s.users.get_many(["user1", "user2"]), s.users.set_profile("user1", {"about": "산"})),
    "links": lambda s: _all(
        s.invitations.by_token("h3"),
        s.invitations.of_chat("g-1", now=AT, limit=5),
        s.invitations.revoke("g-1", "x", AT),
    ),
    "requests": lambda s: _all(
        s.invitations.requests("g-1", after="guest1", limit=5),
        s.invitations.request("g-1", "guest1"),
        s.invitations.requests_of("guest1", limit=5),
        s.invitations.withdraw("g-1", "guest2"),
        s.invitations.ask(JoinRequest("g-1", "new", "inv-1", Role.MEMBER, AT), now=AT, most=99),
    ),
    "coming": lambda s: _all(
        s.memberships.join([Member("g-1", "new", Role.MEMBER, AT)], most=99),
        s.memberships.accept("inv-1", Member("g-1", "newer", Role.MEMBER, AT), now=AT, most=99),
        s.memberships.approve(Member("g-1", "guest1", Role.MEMBER, AT), most=99),
    ),
    "going": lambda s: _all(
        s.memberships.remove("g-1", "user1", AT, by="user2"),
        s.memberships.leave("g-1", "user2", AT),
        s.chats.add_member(Member("g-1", "owner", Role.OWNER, AT)),
        s.memberships.hand_over("g-1", "owner", "user3"),
        s.memberships.leave("g-1", "user3", AT),
    ),
    "lists": lambda s: _all(
        s.memberships.arrange("g-1", "user1", {"pinned_at": AT}),
        s.memberships.set_hides_seen("user1", hides=True),
        s.memberships.places("user1"),
        s.memberships.of_user("user1", ["g-1", "g-2"]),
        s.memberships.among("g-1", ["user1", "user2"]),
        s.memberships.pairs(["g-1"]),
        s.memberships.count("g-1"),
    ),
    "dead_letters": lambda s: s.dead_letters.page(after="l1", limit=10),
    "dead_letters_among": lambda s: s.dead_letters.among(["l1", "l2"]),
    "device": lambda s: s.devices.get("dev-1"),
    "devices": lambda s: s.devices.existing(["dev-1", "dev-2"]),
    "kept_out": lambda s: s.admin.kept_out(["user1", "user2"]),
    "shadowed": lambda s: s.admin.shadowed(),
    "members_count": lambda s: s.admin.members("g-1"),
    "audit_record": lambda s: s.audit.record(AuditEntry("user.banned", "user1", AT)),
    "audit_by": lambda s: s.audit.search(AuditSearch(by="user1"), before=9, limit=10),
    "audit_target": lambda s: s.audit.search(AuditSearch(target="user1"), limit=10),
    "audit_action": lambda s: s.audit.search(AuditSearch(action="user.banned"), limit=10),
    "audit_after": lambda s: s.audit.after(3, 10),
    "roll_up": lambda s: s.statistics.roll_up(now=AT + timedelta(minutes=5), limit=200),
    "statistics": _counted,
    "broadcasts": lambda s: s.broadcasts.newest(before=AT, limit=10),
}


@pytest.mark.parametrize("name", CALLS)
async def test_the_plan_is_an_index_scan_without_a_sort(db: Database, recorder: Recorder, name: str) -> None:
    await CALLS[name](stores_of(db))
    commands = recorder.take()
    assert commands
    for command in commands:
        stages = set(await plan(db, command))
        assert not stages & {"COLLSCAN", "SORT", "$sort"}, (command, stages)
        assert stages & {"IXSCAN", "IDHACK", "DISTINCT_SCAN", "COUNT_SCAN"}, (command, stages)


@pytest.mark.parametrize("name", ["head", "latest", "members", "reached", "by_token", "push_pending"])
async def test_without_its_index_a_query_is_caught(db: Database, recorder: Recorder, name: str) -> None:
    for collection in ("messages", "members", "receipts", "refresh_tokens"):
        await db[collection].drop_indexes()
    await CALLS[name](stores_of(db))
    stages = {stage for command in recorder.take() for stage in await plan(db, command)}
    assert stages & {"COLLSCAN", "SORT", "$sort"}


@pytest.mark.parametrize("name", ["head", "heads", "reached"])
async def test_newest_and_next_rows_are_found_by_steps_not_by_reading(
    db: Database, recorder: Recorder, name: str
) -> None:
    """Documents read: one per chat; of receipts, those within the range and one per reader behind it."""
    await CALLS[name](stores_of(db))
    read = []
    for command in recorder.take():
        answer = await db.command({"explain": command, "verbosity": "executionStats"})
        read += [stats["totalDocsExamined"] for stats in _values(answer, "executionStats")]
    assert sorted(read) == {"head": [1], "heads": [3], "reached": [20, 20, 20 * 2 * 11]}[name]


async def plan(db: Database, command: dict[str, Any]) -> list[str]:
    """The stages of the winning plan. `$lookup` tells the indexes that it used and how often it read a whole collection."""
    answer = await db.command({"explain": command, "verbosity": "executionStats"})
    stages = [stage for winner in _values(answer, "winningPlan") for stage in _values(winner, "stage")]
    for step in answer.get("stages", []):
        stages += [name for name in step if name == "$sort"]
        if "$lookup" in step:
            stages += ["COLLSCAN"] * int(step["collectionScans"]) + ["IXSCAN"] * len(step["indexesUsed"])
    return stages


def _values(node: Any, key: str) -> list[Any]:
    """Every value of `key`, anywhere below `node`."""
    if isinstance(node, list):
        return [value for item in node for value in _values(item, key)]
    if not isinstance(node, dict):
        return []
    here = [node[key]] if key in node else []
    return here + [value for item in node.values() for value in _values(item, key)]
