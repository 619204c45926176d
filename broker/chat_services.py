"""The part of the composition root that only a chat broker needs: its drivers take half a second to load."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from adapters.authenticator import PolicyAuthenticator, ServiceSecrets
from adapters.mongo import open_stores
from adapters.tokens import Jwks, TokenVerifier
from adapters.valkey.connection import connect as connect_valkey
from adapters.valkey.invalidations import ValkeyInvalidations
from adapters.valkey.presence import ValkeyPresence
from broker.chat_policy import ChatPolicy
from broker.settings import BrokerSettings
from chat.ports import Invalidations, Presence


@dataclass(frozen=True, slots=True)
class ChatServices:
    """What stands behind a chat broker."""

    policy: ChatPolicy
    presence: Presence
    invalidations: Invalidations


async def open_services(stack: AsyncExitStack, settings: BrokerSettings) -> ChatServices:
    """Connect to MongoDB and Valkey; both are let go of when the stack ends.

    Raises:
        Unavailable: MongoDB does not answer.
    """
    stores = await open_stores(settings.mongo_url, settings.mongo_database)
    stack.push_async_callback(stores.close)
    valkey = connect_valkey(settings.valkey_url)
    stack.push_async_callback(valkey.aclose)
    authenticator = PolicyAuthenticator(
        tokens=TokenVerifier(Jwks(settings.jwks_file)),
        sign_ins=stores.sign_ins,
        users=stores.users,
        devices=stores.devices,
        services=ServiceSecrets(settings.services_dir),
    )
    policy = ChatPolicy(authenticator, stores.chats, stores.devices, stores.grants, stores.blocks)
    return ChatServices(policy, ValkeyPresence(valkey), ValkeyInvalidations(valkey))
