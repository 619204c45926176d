"""A broker that breaks its word on purpose: it says that sessions are on disk, and writes them later.

Run in place of `python -m broker`; `test_broker_kills.py` must find what it loses when it is killed.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

from adapters.sqlite.sessions import SqliteSessions
from broker import __main__
from mqtt.store import Batch

_apply = SqliteSessions._apply
_write = SqliteSessions.write


def write(self: SqliteSessions, batch: Batch, done: Callable[[Exception | None], None]) -> None:
    done(None)
    _write(self, batch, lambda _: None)


def apply(self: SqliteSessions, batch: Batch) -> None:
    time.sleep(0.1)  # so that a kill always finds something acknowledged and not yet written
    _apply(self, batch)


SqliteSessions.write = write  # type: ignore[method-assign]
SqliteSessions._apply = apply  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(__main__.main())
