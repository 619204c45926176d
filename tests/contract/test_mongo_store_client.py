"""The connection, its errors, and the migrations."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pymongo
import pytest
from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ExecutionTimeout,
    NetworkTimeout,
    NotPrimaryError,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
    WaitQueueTimeoutError,
    WriteConcernError,
    WTimeoutError,
)
from pymongo.monitoring import CommandFailedEvent, CommandListener, CommandStartedEvent, CommandSucceededEvent

from adapters.mongo import client, connect, migrate, open_stores, stores_of
from adapters.mongo.chats import MongoChats
from adapters.mongo.client import Database, repeatable_updates, translate
from adapters.mongo.messages import MongoMessages
from adapters.mongo.migrations import MIGRATIONS
from chat.envelopes import Event
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Role
from chat.ports import Inserted

AT = datetime(2026, 5, 1, tzinfo=UTC)


@pytest.fixture
async def db(mongo_url: str, mongo_database: str) -> AsyncIterator[Database]:
    database = connect(mongo_url, mongo_database)
    yield database
    await database.client.close()


async def fail_with(error: Exception) -> None:
    @translate
    async def method() -> None:
        raise error

    await method()


def bulk(*codes: int, write_concern: int | None = None) -> BulkWriteError:
    concern = [] if write_concern is None else [{"code": write_concern, "errmsg": ""}]
    return BulkWriteError({"writeErrors": [{"code": code} for code in codes], "writeConcernErrors": concern})


@pytest.mark.parametrize(
    "error",
    [
        AutoReconnect(""),
        NetworkTimeout(""),
        NotPrimaryError(""),
        ServerSelectionTimeoutError(""),
        WaitQueueTimeoutError(""),
        ExecutionTimeout("", 50),
        WTimeoutError("", 64),
        WriteConcernError("", 100),
        OperationFailure("", 91),
        OperationFailure("", 13),
        OperationFailure("", 251, {"errorLabels": ["TransientTransactionError"]}),
        bulk(write_concern=64),
        bulk(11000, write_concern=91),
        bulk(11602, 11602),
    ],
    ids=repr,
)
async def test_transient_errors_are_unavailable(error: PyMongoError) -> None:
    with pytest.raises(Unavailable) as caught:
        await fail_with(error)
    assert caught.value.__cause__ is error


@pytest.mark.parametrize(
    "error", [OperationFailure("", 2), bulk(11000), bulk(121, 91), bulk(), KeyError("x")], ids=repr
)
async def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught:
        await fail_with(error)
    assert caught.value is error


async def test_a_server_that_is_not_there_is_unavailable(free_port: Callable[[], int]) -> None:
    db = connect(f"mongodb://127.0.0.1:{free_port()}/?replicaSet=rs0", "nothing")
    stores = stores_of(db)
    event = Event(type="message", id=new_message_id(), chat="g-1", seq=1, n=1, sender="user1", at=AT)
    chat = Chat(id="g-1", kind=ChatKind.GROUP, created_at=AT, created_by="user1")
    with pymongo.timeout(0.2):
        for question in (
            stores.messages.insert([event]),
            stores.messages.head("g-1"),
            stores.chats.create(chat, []),
            stores.users.get("user1"),
            stores.grants.alive(["s1"]),
        ):
            with pytest.raises(Unavailable):
                await question
    assert not await stores.healthy()
    await stores.close()


class LateMajority(MongoMessages):
    """Reads see what is stored only after so many questions."""

    def __init__(self, db: Database, questions: int) -> None:
        super().__init__(db)
        self.questions = questions

    async def by_ids(self, ids: Sequence[str]) -> dict[str, Event]:
        self.questions -= 1
        return await super().by_ids(ids) if self.questions < 0 else {}


async def test_a_repeat_is_told_only_once_the_majority_has_it(db: Database) -> None:
    await migrate(db)
    event = Event(type="message", id=new_message_id(), chat="g-1", seq=1, n=1, sender="user1", at=AT)
    await MongoMessages(db).insert([event])
    assert await LateMajority(db, questions=2).insert([event]) == [Inserted(stored=False, taken_by=event)]
    with pytest.raises(Unavailable):
        await LateMajority(db, questions=1000).insert([event])


async def test_a_chat_whose_members_fail_is_not_there(db: Database) -> None:
    await migrate(db)
    chats = MongoChats(db)
    await chats.add_member(Member(chat="g-1", user="user2", role=Role.MEMBER, joined_at=AT))
    members = [Member(chat="g-1", user=user, role=Role.MEMBER, joined_at=AT) for user in ("user1", "user2")]
    with pytest.raises(BulkWriteError):
        await chats.create(Chat(id="g-1", kind=ChatKind.GROUP, created_at=AT, created_by="user1"), members)
    assert await chats.get("g-1") is None
    assert await chats.member("g-1", "user1") is None


async def test_opened_stores_are_healthy_and_migrated(mongo_url: str, mongo_database: str) -> None:
    stores = await open_stores(mongo_url, mongo_database)
    assert await stores.healthy()
    await stores.close()
    db = connect(mongo_url, mongo_database)
    assert await migrate(db) == []
    await db.client.close()


async def test_writes_wait_for_the_majoritys_journal_whatever_the_url_says(mongo_url: str) -> None:
    db = connect(f"{mongo_url}&w=0&journal=false&readConcernLevel=local&tz_aware=false", "any")
    assert db.write_concern.document == {"w": "majority", "j": True}
    assert db.read_concern.document == {"level": "majority"}
    assert db.codec_options.tz_aware
    await db.client.close()


async def test_migrating_is_recorded_and_idempotent(db: Database) -> None:
    versions = [migration.version for migration in MIGRATIONS]
    assert versions == list(range(1, len(versions) + 1))
    assert await migrate(db) == versions
    assert await migrate(db) == []
    recorded = await db.schema_migrations.find().to_list()
    assert [(row["_id"], row["name"]) for row in recorded] == [(m.version, m.name) for m in MIGRATIONS]
    assert all(row["applied_at"].tzinfo is UTC for row in recorded)


async def test_many_processes_may_migrate_at_once(mongo_url: str, mongo_database: str) -> None:
    databases = [connect(mongo_url, mongo_database) for _ in range(6)]
    await asyncio.gather(*(migrate(database) for database in databases))
    assert await databases[0].schema_migrations.count_documents({}) == len(MIGRATIONS)
    assert await migrate(databases[0]) == []
    for database in databases:
        await database.client.close()


async def test_a_migration_that_was_cut_off_is_done_again(db: Database) -> None:
    await migrate(db)
    await db.schema_migrations.delete_many({})
    await db.messages.drop_index("chat_id_1_seq_1")
    assert await migrate(db) == [migration.version for migration in MIGRATIONS]
    indexes = await db.messages.index_information()
    assert indexes["chat_id_1_seq_1"]["unique"]


async def test_the_fences_are_unique_indexes(db: Database) -> None:
    await migrate(db)
    unique = {
        f"{collection}.{name}"
        for collection in ("messages", "members", "receipts", "refresh_tokens")
        for name, index in (await db[collection].index_information()).items()
        if index.get("unique")
    }
    assert unique == {
        "messages.chat_id_1_seq_1",
        "members.chat_id_1_user_id_1",
        "receipts.chat_id_1_kind_1_user_id_1_seq_1",
        "refresh_tokens.current_1",
    }


class _Updates(CommandListener):
    """The update commands that were sent."""

    def __init__(self) -> None:
        self.sent: list[Mapping[str, Any]] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "update":
            self.sent.append(event.command)

    def succeeded(self, event: CommandSucceededEvent) -> None:
        """Nothing of it matters here."""

    def failed(self, event: CommandFailedEvent) -> None:
        """Nothing of it matters here."""


async def test_repeatable_updates_are_few_commands_for_the_majority_without_notes(
    mongo_url: str, mongo_database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(client, "IDS_PER_STATEMENT", 2)
    monkeypatch.setattr(client, "STATEMENTS_PER_COMMAND", 2)
    updates = _Updates()
    db = connect(mongo_url, mongo_database, listeners=[updates])
    try:
        await db["things"].insert_many([{"_id": letter, "n": 5} for letter in "abcd"])
        changes = [(list("abcx"), {"$max": {"n": 7}}), (["d"], {"$max": {"n": 3}})]
        await repeatable_updates(db["things"], changes)
        assert [row["n"] async for row in db["things"].find(sort=[("_id", 1)])] == [7, 7, 7, 5], "x is not there"
        assert [len(command["updates"]) for command in updates.sent] == [2, 1]
        for command in updates.sent:
            assert command["writeConcern"] == {"w": "majority", "j": True}
            assert "txnNumber" not in command, "the server would write a note per statement"
    finally:
        await db.client.close()


async def test_a_repeatable_update_that_fails_is_told(db: Database) -> None:
    await db["things"].insert_one({"_id": "a", "n": "not a number"})
    with pytest.raises(BulkWriteError):
        await repeatable_updates(db["things"], [(["a"], {"$inc": {"n": 1}})])
