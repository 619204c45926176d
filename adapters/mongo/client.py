"""The connection to MongoDB, and what its errors mean to us."""

from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ParamSpec, TypeAlias, TypeVar

import pymongo
from bson.codec_options import CodecOptions
from pymongo import AsyncMongoClient
from pymongo.asynchronous.collection import AsyncCollection
from pymongo.asynchronous.database import AsyncDatabase
from pymongo.errors import (
    BulkWriteError,
    ConnectionFailure,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)
from pymongo.monitoring import CommandListener

from chat.errors import Unavailable

Document: TypeAlias = dict[str, Any]
Database: TypeAlias = AsyncDatabase[Document]
Collection: TypeAlias = AsyncCollection[Document]

DUPLICATE_KEY = 11000

SELECTION_MS = 5_000
"""How long an operation looks for a primary: longer than an election takes on one machine, shorter than a client waits."""

CONNECT_MS = 2_000
"""How long a connection, or the answer to a heartbeat, may take. A server that is frozen (it keeps its connections and answers
nobody) is noticed after this and a heartbeat, and what waits for it is broken off and goes to the next primary."""

HEARTBEAT_MS = 1_000
"""How often each server is asked what it is; the driver's own 10 s are about as long as we wait for anything at all."""

OPERATION_MS = 10_000
"""Bound of any one operation, retries and the wait for the majority included."""

MAJORITY = {"w": "majority", "j": True}
MAJORITY_READ = {"level": "majority"}
"""What `connect` has the driver ask for with each write and read, for commands that are sent without it."""

IDS_PER_STATEMENT, STATEMENTS_PER_COMMAND = 1_000, 5_000
"""Of updates: a command stays below the 48 MB that the database takes, also if each statement has as many ids as it may."""

BATCH = 10_000
"""Documents per answer where no limit says it; the database ends an answer at 16 MiB in any case."""

NAIVE: CodecOptions[Document] = CodecOptions(tz_aware=False)
"""For who reads many times: putting UTC on each takes the driver a microsecond, and `utc` a tenth of that."""

# Server errors that say something about the server's state and nothing about the request. From mongo's error_codes.yml.
_TRANSIENT = frozenset(
    {
        6,  # HostUnreachable
        7,  # HostNotFound
        13,  # Unauthorized: an operator's mistake must hold messages back, never send them to dead letters
        18,  # AuthenticationFailed: the same
        24,  # LockTimeout
        46,  # LockBusy
        50,  # MaxTimeMSExpired
        64,  # WriteConcernFailed (wtimeout)
        89,  # NetworkTimeout
        91,  # ShutdownInProgress
        100,  # UnsatisfiableWriteConcern
        112,  # WriteConflict
        133,  # FailedToSatisfyReadPreference
        134,  # ReadConcernMajorityNotAvailableYet
        189,  # PrimarySteppedDown
        202,  # NetworkInterfaceExceededTimeLimit
        251,  # NoSuchTransaction: it was aborted by the server
        262,  # ExceededTimeLimit
        317,  # ConnectionPoolExpired
        365,  # TemporarilyUnavailable
        9001,  # SocketException
        10107,  # NotWritablePrimary
        11600,  # InterruptedAtShutdown
        11602,  # InterruptedDueToReplStateChange
        13388,  # StaleConfig
        13435,  # NotPrimaryNoSecondaryOk
        13436,  # NotPrimaryOrSecondary
        14031,  # OutOfDiskSpace
    }
)

P = ParamSpec("P")
T = TypeVar("T")


def connect(url: str, database: str, *, listeners: Sequence[CommandListener] = ()) -> Database:
    """A handle on a database. Connects lazily; belongs to the event loop that uses it first.

    Writes wait for the majority's journals (P1), reads see only what the majority has (nothing that a failover could take
    back), and times are UTC with milliseconds. These hold whatever the URL says.

    Args:
        url: MongoDB URL of a replica set or mongos.
        database: name of the database.
        listeners: see every command (for tests and metrics).
    """
    client: AsyncMongoClient[Document] = AsyncMongoClient(
        url,
        appname="pabal",
        w="majority",
        journal=True,
        readConcernLevel="majority",
        retryWrites=True,
        retryReads=True,
        tz_aware=True,
        tzinfo=UTC,
        serverSelectionTimeoutMS=SELECTION_MS,
        connectTimeoutMS=CONNECT_MS,
        heartbeatFrequencyMS=HEARTBEAT_MS,
        timeoutMS=OPERATION_MS,
        event_listeners=list(listeners),
    )
    return client[database]


async def healthy(db: Database) -> bool:
    """Whether the server answers within a second: who asks for health has no patience."""
    try:
        with pymongo.timeout(1.0):
            await db.command("ping")
    except PyMongoError:
        return False
    return True


async def fetch(
    collection: Collection,
    query: Mapping[str, Any],
    projection: Mapping[str, Any] | None = None,
    *,
    sort: Sequence[tuple[str, int]] = (),
    limit: int | None = None,
) -> list[Document]:
    """The documents of a query, in as few answers as possible (the database's first one has 101 unless it is told more).

    Args:
        limit: at most so many; a limit below 1 finds none (to the database, 0 would mean all).
    """
    if limit is None:
        cursor = collection.find(query, projection, sort=sort or None, batch_size=BATCH)
    elif limit < 1:
        return []
    else:
        cursor = collection.find(query, projection, sort=sort or None, limit=limit, batch_size=limit)
    return await cursor.to_list()


async def question(db: Database, collection: str, pipeline: Sequence[Document]) -> list[Document]:
    """The documents of an aggregation that fit into one answer of the database (16 MiB).

    Times are naive, for `utc`. By the bare command: the driver's cursors cost half of a small question again. So it is here that it is asked once
    more when the connection turns out to be dead, or the server no longer the primary, as the driver does for its own.

    Raises:
        RuntimeError: they do not fit.
    """
    command = {
        "aggregate": collection,
        "pipeline": pipeline,
        "cursor": {"batchSize": BATCH},
        "readConcern": MAJORITY_READ,
    }
    with pymongo.timeout(OPERATION_MS / 1000):  # of both tries
        try:
            answer = await db.command(command, codec_options=NAIVE)
        except ServerSelectionTimeoutError:
            raise  # it has been looked for long enough
        except ConnectionFailure:
            answer = await db.command(command, codec_options=NAIVE)
    if answer["cursor"]["id"]:
        raise RuntimeError(f"a question to {collection} has a longer answer than it may have")
    found: list[Document] = answer["cursor"]["firstBatch"]
    return found


async def repeatable_updates(collection: Collection, changes: Sequence[tuple[Sequence[str], Document]]) -> None:
    """Change documents, by their ids and nothing else, in ways that may be repeated, such as `$max`; with majority, unordered.

    By the bare command: the driver's `bulk_write` marks each statement as one that the server must recognise when it is sent again, and for
    that the server writes a note per statement. A query for one `_id` needs no planning either. Measured: 17 µs of mongod per document instead
    of 35, and 10 where one statement is for a thousand.

    Args:
        changes: ids that get the same change, and that. Ids that are not there are ignored.

    Raises:
        BulkWriteError: part of it may have been done.
    """
    statements = [
        {"q": {"_id": ids[0]}, "u": change}
        if len(ids) == 1
        else {"q": {"_id": {"$in": ids[start : start + IDS_PER_STATEMENT]}}, "u": change, "multi": True}
        for ids, change in changes
        for start in range(0, len(ids), IDS_PER_STATEMENT)
    ]
    for start in range(0, len(statements), STATEMENTS_PER_COMMAND):
        some = statements[start : start + STATEMENTS_PER_COMMAND]
        answer = await collection.database.command(
            {"update": collection.name, "ordered": False, "updates": some, "writeConcern": MAJORITY}
        )
        errors, concern = answer.get("writeErrors", []), answer.get("writeConcernError")
        if errors or concern:
            raise BulkWriteError({"writeErrors": errors, "writeConcernErrors": [concern] if concern else []})


def utc(time: datetime) -> datetime:
    """A time of a document, whether it has a zone already or not: all of them are UTC."""
    return time.replace(tzinfo=UTC)


def utc_or_none(time: datetime | None) -> datetime | None:
    """The same for one that may be absent."""
    return None if time is None else time.replace(tzinfo=UTC)


def translate(method: Callable[P, Coroutine[Any, Any, T]]) -> Callable[P, Coroutine[Any, Any, T]]:
    """Make a coroutine function raise `Unavailable` for the database's transient errors; others pass as they are."""

    @functools.wraps(method)
    async def translated(*args: P.args, **kwargs: P.kwargs) -> T:
        try:
            return await method(*args, **kwargs)
        except PyMongoError as error:
            if is_transient(error):
                raise Unavailable(f"the database does not answer: {type(error).__name__}") from error
            raise

    return translated


def is_transient(error: PyMongoError) -> bool:
    """Whether the same operation may succeed later: the network, an election, a time limit; not the request's own fault."""
    if isinstance(error, ConnectionFailure) or error.timeout:
        return True
    if error.has_error_label("RetryableWriteError") or error.has_error_label("TransientTransactionError"):
        return True
    if isinstance(error, BulkWriteError):
        if error.details.get("writeConcernErrors"):
            return True
        codes = {write_error.get("code") for write_error in error.details.get("writeErrors", ())}
        return bool(codes) and codes <= _TRANSIENT
    return isinstance(error, OperationFailure) and error.code in _TRANSIENT
