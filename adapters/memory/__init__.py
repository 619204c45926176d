"""In-memory twins of the ports, with the same semantics; `tests/contract/` runs the same tests on both.

Usage::

    stores = memory_stores()
"""

from __future__ import annotations

from adapters.memory.admin import MemoryAdmin
from adapters.memory.audit import MemoryAudit
from adapters.memory.broadcasts import MemoryBroadcasts
from adapters.memory.chats import MemoryChats
from adapters.memory.dead_letters import MemoryDeadLetters
from adapters.memory.grants import MemoryGrants
from adapters.memory.messages import MemoryMessages
from adapters.memory.notices import MemoryNotices
from adapters.memory.push_tokens import MemoryPushTokens
from adapters.memory.receipts import MemoryReceipts
from adapters.memory.statistics import MemoryStatistics
from adapters.memory.users import MemoryDevices, MemoryUsers
from adapters.stores import Stores

__all__ = ["Stores", "memory_stores"]


def memory_stores() -> Stores:
    """A bundle of empty stores that live as long as the process."""
    notices = MemoryNotices()
    users, chats = MemoryUsers(), MemoryChats(notices)
    messages, receipts = MemoryMessages(), MemoryReceipts()
    devices = MemoryDevices(users)
    return Stores(
        messages=messages,
        chats=chats,
        notices=notices,
        receipts=receipts,
        users=users,
        devices=devices,
        grants=MemoryGrants(),
        push_tokens=MemoryPushTokens(),
        dead_letters=MemoryDeadLetters(),
        audit=MemoryAudit(),
        admin=MemoryAdmin(users, devices, chats),
        statistics=MemoryStatistics(messages, chats, receipts),
        broadcasts=MemoryBroadcasts(),
        healthy=_healthy,
        close=_close,
    )


async def _healthy() -> bool:
    return True


async def _close() -> None:
    """There is nothing to end."""
