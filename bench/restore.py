"""How long a broker takes to come up on many sessions: `python -m bench.restore [SESSIONS]`.

It makes a store with so many sessions in a temporary directory, five subscriptions each, and two messages of 200 bytes that wait
for every tenth; then it opens that as a broker does at its start, and says how many seconds each part took.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from adapters.sqlite.sessions import SqliteSessions
from broker.broker import Broker
from broker.durability import Durability
from broker.limits import Limits
from broker.policy import OpenPolicy
from broker.restoring import restore
from mqtt.store import Batch, EntryRecord, MessageRecord, Record, SessionRecord, SubscriptionRecord

SESSIONS = 100_000
SUBSCRIPTIONS = 5
WAITING_EVERY, WAITING = 10, 2
BATCH = 5_000


def records(sessions: range) -> Iterator[Record]:
    """What a broker would have noted for these sessions."""
    now = time.time()
    for key in sessions:
        user = f"user{key}"
        yield SessionRecord(key, f"{user}:phone", user, f"{key:016x}", 86_400, now)
        for number in range(SUBSCRIPTIONS - 1):
            yield SubscriptionRecord(key, f"chats/g-{(key * 7 + number) % 20_000}/messages", 1, False, False, ())
        yield SubscriptionRecord(key, f"users/{user}/inbox", 1, False, False, ())
        if key % WAITING_EVERY == 0:
            for number in range(WAITING):
                message = (1 << 41) + key * WAITING + number
                yield MessageRecord(message, f"users/{user}/inbox", b"x" * 200, 1, False, {}, None, None, "svc-bridge")
                yield EntryRecord(message + (1 << 40), key, message, 0, 1, False, (), "")


def fill(directory: Path, sessions: int) -> None:
    """Make the store."""
    store = SqliteSessions(directory)
    for start in range(1, sessions + 1, BATCH):
        batch = Batch()
        for record in records(range(start, min(start + BATCH, sessions + 1))):
            batch.saved.setdefault(type(record), []).append(record)
        written = threading.Event()
        store.write(batch, lambda _, written=written: written.set())  # type: ignore[misc]
        written.wait()
    store.close()


async def come_up(directory: Path) -> tuple[float, float]:
    """Seconds to open and check the file, and to put everything in its place."""
    began = time.perf_counter()
    store = SqliteSessions(directory)
    opened = time.perf_counter()
    broker = Broker(OpenPolicy(), limits=Limits())
    await restore(broker, store, Durability(broker.core, store).journal)
    ended = time.perf_counter()
    store.close()
    return opened - began, ended - opened


def main() -> int:
    """Run; the exit code."""
    sessions = int(sys.argv[1]) if len(sys.argv) > 1 else SESSIONS
    with tempfile.TemporaryDirectory() as made:
        directory = Path(made) / "sessions"
        fill(directory, sessions)
        size = (directory / "sessions.db").stat().st_size
        opening, restoring = asyncio.run(come_up(directory))
    sys.stdout.write(
        f"{sessions} sessions, {size / 1e6:.0f} MB: {opening:.2f} s to open and check, {restoring:.2f} s to restore\n"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
