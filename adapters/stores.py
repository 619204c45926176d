"""The bundle of stores that a process works with, the same for MongoDB (`adapters.mongo`) and memory (`adapters.memory`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chat.admin import AdminStore
from chat.background import JobRunStore
from chat.broadcasts import BroadcastStore
from chat.history import OpeningStore
from chat.idempotency import IdempotencyStore
from chat.people_stores import BlockStore, ContactStore, InvitationStore, MembershipStore
from chat.ports import (
    Audit,
    ChatStore,
    DeadLetterStore,
    DeviceStore,
    GrantStore,
    MessageStore,
    NoticeStore,
    PushTokenStore,
    ReceiptStore,
    SecondFactorStore,
    ServiceAccountStore,
    UserStore,
)
from chat.push_preferences import PushPreferenceStore
from chat.sign_ins import SignInStore
from chat.statistics import StatisticsStore
from chat.upkeep import UpkeepStore


@dataclass(frozen=True, slots=True)
class Stores:
    """Every store of one database.

    Attributes:
        healthy: whether the database answers now (never raises): for `/healthz`.
        close: end the connections; the stores can't be used afterwards.
    """

    messages: MessageStore
    chats: ChatStore
    notices: NoticeStore
    receipts: ReceiptStore
    users: UserStore
    devices: DeviceStore
    grants: GrantStore
    sign_ins: SignInStore
    push_tokens: PushTokenStore
    push_preferences: PushPreferenceStore
    dead_letters: DeadLetterStore
    contacts: ContactStore
    blocks: BlockStore
    invitations: InvitationStore
    memberships: MembershipStore
    audit: Audit
    admin: AdminStore
    statistics: StatisticsStore
    broadcasts: BroadcastStore
    openings: OpeningStore
    idempotency: IdempotencyStore
    service_accounts: ServiceAccountStore
    second_factors: SecondFactorStore
    job_runs: JobRunStore
    upkeep: UpkeepStore
    healthy: Callable[[], Awaitable[bool]]
    close: Callable[[], Awaitable[None]]
