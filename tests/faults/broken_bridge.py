"""A bridge that breaks promise P1 on purpose: it acknowledges when a message arrives, and stores it later.

Run in place of `python -m bridge` by `broken_stack.py`; the checker must find what it loses when it is killed.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from typing import Any

from bridge import __main__, ingest

_offer = ingest.Ingest.offer
_run = ingest.Ingest._run


def offer(self: ingest.Ingest, delivery: Any, *, chat: str, sender: str) -> None:
    delivery.settle(0, None, None)
    _offer(self, replace(delivery, settle=lambda *_: None), chat=chat, sender=sender)


async def run(self: ingest.Ingest, batch: Any) -> None:
    await asyncio.sleep(0.2)  # so that a kill always finds something acknowledged and not yet stored
    await _run(self, batch)


ingest.Ingest.offer = offer  # type: ignore[method-assign]
ingest.Ingest._run = run  # type: ignore[method-assign]

if __name__ == "__main__":
    sys.exit(__main__.main())
