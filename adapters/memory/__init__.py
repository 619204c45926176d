"""In-memory twins of the ports, with the same semantics; `tests/contract/` runs the same tests on both.

Usage::

    stores = memory_stores()
"""

from __future__ import annotations

from adapters.memory.admin import MemoryAdmin
from adapters.memory.audit import MemoryAudit
from adapters.memory.background import MemoryJobRuns
from adapters.memory.blocks import MemoryBlocks
from adapters.memory.broadcasts import MemoryBroadcasts
from adapters.memory.chats import MemoryChats
from adapters.memory.contacts import MemoryContacts
from adapters.memory.dead_letters import MemoryDeadLetters
from adapters.memory.grants import MemoryGrants
from adapters.memory.idempotency import MemoryIdempotency
from adapters.memory.invitations import MemoryInvitations
from adapters.memory.memberships import MemoryMemberships
from adapters.memory.messages import MemoryMessages
from adapters.memory.notices import MemoryNotices
from adapters.memory.openings import MemoryOpenings
from adapters.memory.push_preferences import MemoryPushPreferences
from adapters.memory.push_tokens import MemoryPushTokens
from adapters.memory.receipts import MemoryReceipts
from adapters.memory.second_factors import MemorySecondFactors
from adapters.memory.service_accounts import MemoryServiceAccounts
from adapters.memory.sign_ins import MemorySignIns
from adapters.memory.statistics import MemoryStatistics
from adapters.memory.upkeep import MemoryUpkeep
from adapters.memory.users import MemoryDevices, MemoryUsers
from adapters.stores import Stores

__all__ = ["Stores", "memory_stores"]


def memory_stores() -> Stores:
    """A bundle of empty stores that live as long as the process."""
    notices, invitations, users = MemoryNotices(), MemoryInvitations(), MemoryUsers()
    chats, messages, receipts = MemoryChats(notices), MemoryMessages(), MemoryReceipts()
    devices, grants, tokens, keys = MemoryDevices(users), MemoryGrants(), MemoryPushTokens(), MemoryIdempotency()
    sign_ins = MemorySignIns(grants, users)
    return Stores(
        messages=messages,
        chats=chats,
        notices=notices,
        receipts=receipts,
        users=users,
        devices=devices,
        grants=grants,
        sign_ins=sign_ins,
        push_tokens=tokens,
        push_preferences=MemoryPushPreferences(),
        dead_letters=MemoryDeadLetters(),
        contacts=MemoryContacts(),
        blocks=MemoryBlocks(),
        invitations=invitations,
        memberships=MemoryMemberships(chats, invitations, users, notices),
        audit=MemoryAudit(),
        admin=MemoryAdmin(users, devices, chats),
        statistics=MemoryStatistics(messages, chats, receipts),
        broadcasts=MemoryBroadcasts(),
        idempotency=keys,
        openings=MemoryOpenings(chats, messages, receipts, sign_ins),
        service_accounts=MemoryServiceAccounts(),
        second_factors=MemorySecondFactors(),
        job_runs=MemoryJobRuns(),
        upkeep=MemoryUpkeep(messages, chats, receipts, grants, tokens, keys),
        healthy=_healthy,
        close=_close,
    )


async def _healthy() -> bool:
    return True


async def _close() -> None:
    """There is nothing to end."""
