"""Whether the caller is in a chat. "Not yours" and "not there" are one answer, so that nobody can probe for chats."""

from __future__ import annotations

from chat.errors import NotFound
from chat.ids import is_chat_id
from chat.models import Member, Principal
from chat.ports import ChatStore


def unknown_chat() -> NotFound:
    """The one answer for chats that do not exist and chats of others."""
    return NotFound("there is no such chat, or you are not in it", code="unknown_chat")


async def present_member(chats: ChatStore, chat: str, caller: Principal) -> Member:
    """The caller's membership of `chat`, now.

    Raises:
        NotFound: `unknown_chat`.
    """
    member = await chats.member(chat, caller.id) if is_chat_id(chat) else None
    if member is None or member.left_at is not None:
        raise unknown_chat()
    return member
