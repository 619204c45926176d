"""The in-memory twin of the session store: a broker on it forgets with its process, but a test may start a second one on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

from mqtt.store import (
    KEY_FIELDS,
    KINDS,
    Batch,
    HeldRecord,
    Key,
    NameRecord,
    Record,
    SessionRecord,
    SubscriptionRecord,
    WillRecord,
)

_OWNED: dict[type[Record], int] = {
    SubscriptionRecord: 0,
    HeldRecord: 0,
    NameRecord: 0,
    WillRecord: 0,
}
"""What belongs to a session, and which field says to which."""


class MemorySessions:
    """Records in dictionaries. `reopen` is what a new process does with a store on disk."""

    def __init__(self) -> None:
        self.starts = 1
        self._records: dict[type[Record], dict[Key, Record]] = {kind: {} for kind in KINDS}

    def reopen(self) -> None:
        """Open it once more."""
        self.starts += 1

    def counts(self) -> dict[type[Record], int]:
        """How many records of each kind there are."""
        return {kind: len(records) for kind, records in self._records.items()}

    def load(self) -> Iterator[Record]:
        """Every record, in the order of `KINDS`, entries by key."""
        for kind in KINDS:
            for _, record in sorted(self._records[kind].items(), key=lambda item: cast("Any", item[0])):
                yield record

    def write(self, batch: Batch, done: Callable[[Exception | None], None]) -> None:
        """Keep the records of a batch; it is done on return."""
        for kind, records in batch.saved.items():
            for record in records:
                self._records[kind][key_of(record)] = record
        for kind, keys in batch.forgotten.items():
            for key in keys:
                self._records[kind].pop(key, None)
        self._disown(batch.forgotten.get(SessionRecord, []))
        done(None)

    def _disown(self, sessions: list[Key]) -> None:
        gone = set(sessions)
        if not gone:
            return
        for kind, owner in _OWNED.items():
            kept = {key: record for key, record in self._records[kind].items() if record[owner] not in gone}
            self._records[kind] = kept

    def close(self) -> None:
        """Nothing to let go of."""


def key_of(record: Record) -> Key:
    """The key of a record."""
    length = KEY_FIELDS[type(record)]
    return cast("Key", record[0] if length == 1 else tuple(record[:length]))
