"""The stores on MongoDB. Each file opens with its collection's document shape and indexes.

Usage::

    stores = await open_stores("mongodb://127.0.0.1:27117/?replicaSet=rs0", "pabal")
    ...
    await stores.close()
"""

from __future__ import annotations

from adapters.mongo.admin import MongoAdmin
from adapters.mongo.audit import MongoAudit
from adapters.mongo.blocks import MongoBlocks
from adapters.mongo.broadcasts import MongoBroadcasts
from adapters.mongo.chats import MongoChats
from adapters.mongo.client import Database, connect, healthy
from adapters.mongo.contacts import MongoContacts
from adapters.mongo.dead_letters import MongoDeadLetters
from adapters.mongo.grants import MongoGrants
from adapters.mongo.idempotency import MongoIdempotency
from adapters.mongo.invitations import MongoInvitations
from adapters.mongo.job_runs import MongoJobRuns
from adapters.mongo.memberships import MongoMemberships
from adapters.mongo.messages import MongoMessages
from adapters.mongo.migrations import migrate
from adapters.mongo.notices import MongoNotices
from adapters.mongo.openings import MongoOpenings
from adapters.mongo.push_preferences import MongoPushPreferences
from adapters.mongo.push_tokens import MongoPushTokens
from adapters.mongo.receipts import MongoReceipts
from adapters.mongo.second_factors import MongoSecondFactors
from adapters.mongo.service_accounts import MongoServiceAccounts
from adapters.mongo.sign_ins import MongoSignIns
from adapters.mongo.statistics import MongoStatistics
from adapters.mongo.upkeep import MongoUpkeep
from adapters.mongo.users import MongoDevices, MongoUsers
from adapters.stores import Stores

__all__ = ["Database", "Stores", "connect", "migrate", "open_stores", "stores_of"]


async def open_stores(url: str, database: str) -> Stores:
    """Connect, bring the schema up to date (see `migrate`), and return the stores. Call it within the event loop that uses them.

    Args:
        url: MongoDB URL of a replica set or mongos (transactions need one).
        database: name of the database.

    Raises:
        Unavailable: the server does not answer.
    """
    db = connect(url, database)
    try:
        await migrate(db)
    except BaseException:
        await db.client.close()
        raise
    return stores_of(db)


def stores_of(db: Database) -> Stores:
    """The stores of a connected database whose schema is up to date."""
    return Stores(
        messages=MongoMessages(db),
        chats=MongoChats(db),
        notices=MongoNotices(db),
        receipts=MongoReceipts(db),
        users=MongoUsers(db),
        devices=MongoDevices(db),
        grants=MongoGrants(db),
        sign_ins=MongoSignIns(db),
        push_tokens=MongoPushTokens(db),
        push_preferences=MongoPushPreferences(db),
        dead_letters=MongoDeadLetters(db),
        contacts=MongoContacts(db),
        blocks=MongoBlocks(db),
        invitations=MongoInvitations(db),
        memberships=MongoMemberships(db),
        audit=MongoAudit(db),
        admin=MongoAdmin(db),
        statistics=MongoStatistics(db),
        broadcasts=MongoBroadcasts(db),
        openings=MongoOpenings(db),
        idempotency=MongoIdempotency(db),
        service_accounts=MongoServiceAccounts(db),
        second_factors=MongoSecondFactors(db),
        job_runs=MongoJobRuns(db),
        upkeep=MongoUpkeep(db),
        healthy=lambda: healthy(db),
        close=db.client.close,
    )
