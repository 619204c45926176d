"""What a decision of `chat.permissions` hangs on, from the stores: the broker and the auth hooks for other brokers ask here."""

from __future__ import annotations

from chat import permissions
from chat.models import Principal
from chat.people_stores import BlockStore
from chat.permissions import Action, Facts, Need
from chat.ports import ChatStore, DeviceStore
from chat.topics import Topic


async def facts(
    principal: Principal,
    action: Action,
    topic: Topic | None,
    *,
    chats: ChatStore,
    devices: DeviceStore,
    blocks: BlockStore,
) -> Facts:
    """What `permissions.needs` asks for, as it is now.

    Raises:
        Unavailable: a store does not answer.
    """
    need = permissions.needs(principal, action, topic)
    if need is None or need is Need.NOTHING or topic is None:
        return Facts()
    if need is Need.MEMBERSHIP:
        member = await chats.member(topic.scope, principal.id)
        hushed = permissions.shows_typing(action, topic) and await _apart(topic.scope, chats, blocks)
        return Facts(member=member, blocked=hushed)
    if need is Need.SHARED_CHAT:
        if topic.scope == principal.id:
            return Facts(shares_chat=True)
        if not await chats.share_chat(principal.id, topic.scope):
            return Facts()
        return Facts(shares_chat=True, blocked=bool(await blocks.among([(topic.scope, principal.id)])))
    device = await devices.get(topic.scope)
    return Facts(owns_device=device is not None and device.owner == principal.id)


async def _apart(chat: str, chats: ChatStore, blocks: BlockStore) -> bool:
    """Whether one of the two of a direct chat has blocked the other."""
    pair = [member.user for member in await chats.members(chat)]
    return bool(await blocks.among([(one, other) for one in pair for other in pair if one != other]))
