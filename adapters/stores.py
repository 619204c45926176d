"""The bundle of stores that a process works with, the same for MongoDB (`adapters.mongo`) and memory (`adapters.memory`)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from chat.ports import (
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
    push_tokens: PushTokenStore
    dead_letters: DeadLetterStore
    service_accounts: ServiceAccountStore
    second_factors: SecondFactorStore
    healthy: Callable[[], Awaitable[bool]]
    close: Callable[[], Awaitable[None]]
