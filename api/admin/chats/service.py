"""Chats: found and shown, without what is said in them."""

from __future__ import annotations

from dataclasses import dataclass

from api.admin.chats.schemas import (
    AdminChat,
    AdminChatDetail,
    AdminChatPage,
    AdminChatsQuery,
    AdminMember,
    AdminMemberPage,
    AdminMembersQuery,
    facts,
)
from api.pagination import pack, unpack
from chat.admin import AdminStore, ChatSearch
from chat.errors import NotFound
from chat.ids import is_chat_id
from chat.models import Chat
from chat.ports import ChatStore


@dataclass(frozen=True, slots=True)
class ChatAdmin:
    """The decisions of `/v1/admin/chats`."""

    admin: AdminStore
    chats: ChatStore

    async def page(self, query: AdminChatsQuery) -> AdminChatPage:
        """One page, by id.

        Raises:
            BadInput: `invalid_cursor`.
        """
        after = unpack(query.cursor, 1)[0] if query.cursor else ""
        search = ChatSearch(query.text, query.kind, query.member)
        found = await self.admin.chats(search, after=after, limit=query.limit + 1)
        items = [AdminChat(**facts(chat)) for chat in found[: query.limit]]
        return AdminChatPage(items=items, next=pack(items[-1].id) if len(found) > query.limit else None)

    async def show(self, chat: str) -> AdminChatDetail:
        """One chat.

        Raises:
            NotFound: `unknown_chat`.
        """
        found = await self._get(chat)
        return AdminChatDetail(**facts(found), members=await self.admin.members(chat))

    async def members(self, chat: str, query: AdminMembersQuery) -> AdminMemberPage:
        """Who is in it, page by page.

        Raises:
            NotFound: `unknown_chat`.
            BadInput: `invalid_cursor`.
        """
        await self._get(chat)
        after = unpack(query.cursor, 1)[0] if query.cursor else ""
        found = await self.chats.members(chat, after=after, limit=query.limit + 1)
        items = [AdminMember(row.user, row.role.value, row.joined_at) for row in found[: query.limit]]
        return AdminMemberPage(items=items, next=pack(items[-1].user) if len(found) > query.limit else None)

    async def _get(self, chat: str) -> Chat:
        found = await self.chats.get(chat) if is_chat_id(chat) else None
        if found is None:
            raise NotFound("there is no such chat", code="unknown_chat")
        return found
