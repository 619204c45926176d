"""Collection `schema_migrations`: which changes of the schema a database has had.

`_id` int, the version · `name` string · `applied_at` date. No index but `_id`.

Each migration is idempotent, so any number of processes may run `migrate` at once, and one that was killed half way is run again. Old
processes go on working on the new schema: a rolling upgrade has both.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import pymongo
from pymongo.errors import DuplicateKeyError

from adapters.mongo import (
    admin,
    audit,
    blocks,
    broadcasts,
    chats,
    contacts,
    grants,
    idempotency,
    invitations,
    messages,
    push_tokens,
    receipts,
    statistics,
    upkeep,
    users,
)
from adapters.mongo.client import Database, translate

COLLECTION = "schema_migrations"


@dataclass(frozen=True, slots=True)
class Migration:
    """One change of the schema; versions are dense and rising, and a published one is never changed."""

    version: int
    name: str
    apply: Callable[[Database], Awaitable[None]]


@translate
async def migrate(db: Database) -> list[int]:
    """Bring a database up to date.

    Returns:
        the versions that this call applied; empty when there was nothing to do.

    Raises:
        Unavailable: the server does not answer; what was applied stays.
    """
    with pymongo.timeout(None):  # building an index takes as long as it takes
        applied = {document["_id"] async for document in db[COLLECTION].find({}, {"_id": 1})}
        pending = [migration for migration in MIGRATIONS if migration.version not in applied]
        for migration in pending:
            await migration.apply(db)
            await _record(db, migration)
    return [migration.version for migration in pending]


async def _record(db: Database, migration: Migration) -> None:
    document = {"_id": migration.version, "name": migration.name, "applied_at": datetime.now(UTC)}
    try:
        await db[COLLECTION].insert_one(document)
    except DuplicateKeyError:
        return  # another process was faster with the same, idempotent change


async def _first_indexes(db: Database) -> None:
    await db[messages.COLLECTION].create_indexes(messages.INDEXES)
    await db[chats.MEMBERS].create_indexes(chats.MEMBER_INDEXES)
    await db[receipts.COLLECTION].create_indexes(receipts.INDEXES)
    await db[users.DEVICES].create_indexes(users.DEVICE_INDEXES)
    await db[grants.COLLECTION].create_indexes(grants.INDEXES)
    await db[push_tokens.COLLECTION].create_indexes(push_tokens.INDEXES)


async def _pins(db: Database) -> None:
    await db[messages.COLLECTION].create_indexes(messages.INDEXES)


async def _people(db: Database) -> None:
    await db[chats.MEMBERS].create_indexes(chats.MEMBER_INDEXES)
    await db[contacts.COLLECTION].create_indexes(contacts.INDEXES)
    await db[blocks.COLLECTION].create_indexes(blocks.INDEXES)
    await db[invitations.INVITATIONS].create_indexes(invitations.INDEXES)
    await db[invitations.REQUESTS].create_indexes(invitations.REQUEST_INDEXES)


async def _administration(db: Database) -> None:
    await db[audit.COLLECTION].create_indexes(audit.INDEXES)
    await db[users.USERS].create_indexes(admin.USER_INDEXES)
    await db[statistics.ACTIVE].create_indexes(statistics.ACTIVE_INDEXES)
    await db[broadcasts.COLLECTION].create_indexes(broadcasts.INDEXES)


async def _answers(db: Database) -> None:
    await db[messages.COLLECTION].create_indexes(messages.INDEXES)


async def _idempotency(db: Database) -> None:
    await db[idempotency.COLLECTION].create_indexes(idempotency.INDEXES)


async def _sign_ins(db: Database) -> None:
    await db[grants.COLLECTION].create_indexes(grants.INDEXES)
    await db[users.USERS].create_indexes(users.IDENTITY_INDEXES)


async def _retention(db: Database) -> None:
    await db[chats.CHATS].create_indexes(upkeep.CHAT_INDEXES)


MIGRATIONS = (
    Migration(1, "first indexes", _first_indexes),
    Migration(2, "pinned messages", _pins),
    Migration(3, "contacts, blocks, invitations, heirs", _people),
    Migration(4, "administration", _administration),
    Migration(5, "reactions and answers", _answers),
    Migration(6, "idempotency keys", _idempotency),
    Migration(7, "sign-ins of a user, identities", _sign_ins),
    Migration(8, "retention", _retention),
)
