"""What a decision of `chat.permissions` hangs on, from the stores: the broker and the auth hooks for other brokers ask here."""

from __future__ import annotations

from chat import permissions
from chat.models import Principal
from chat.permissions import Action, Facts, Need
from chat.ports import ChatStore, DeviceStore
from chat.topics import Topic


async def facts(
    principal: Principal, action: Action, topic: Topic | None, *, chats: ChatStore, devices: DeviceStore
) -> Facts:
    """What `permissions.needs` asks for, as it is now.

    Raises:
        Unavailable: a store does not answer.
    """
    need = permissions.needs(principal, action, topic)
    if need is None or need is Need.NOTHING or topic is None:
        return Facts()
    if need is Need.MEMBERSHIP:
        return Facts(member=await chats.member(topic.scope, principal.id))
    if need is Need.SHARED_CHAT:
        shares = topic.scope == principal.id or await chats.share_chat(principal.id, topic.scope)
        return Facts(shares_chat=shares)
    device = await devices.get(topic.scope)
    return Facts(owns_device=device is not None and device.owner == principal.id)
