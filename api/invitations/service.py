"""Ways into a group or channel: links that its managers give away, and requests to join that they answer.

A token is 256 random bits, of which only the SHA-256 is kept: who reads the database can't come in. That a link is counted and that somebody
is in (or waits) is one transaction: of a hundred who come at once by a link for ten, ten come in, whoever is killed meanwhile.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from datetime import timedelta

from api import creation
from api.access import present_member, unknown_chat
from api.chats.schemas import ChatView
from api.chats.service import ChatService
from api.clock import now
from api.contacts.schemas import PeopleQuery
from api.invitations.schemas import (
    LinkList,
    NewLink,
    NewLinkView,
    Preview,
    RequestPage,
    RequestView,
    Waiting,
    WaitingList,
    new_view,
    view,
)
from api.members.announce import notice
from api.members.schemas import MemberPage
from api.members.schemas import view as member_view
from api.members.service import MemberService
from chat import permissions, privacy
from chat.envelopes import System
from chat.errors import Conflict, Forbidden, NotFound
from chat.ids import is_chat_id, is_principal
from chat.models import Chat, Member, Principal, Role
from chat.people import InvitationLink, JoinRequest, good
from chat.people_stores import InvitationStore

_LINK = re.compile(r"inv-[0-9a-f]{16}")

MAX_MINE = 100
"""Requests of one user that are listed; who asks more often sees the first ones."""


@dataclass(frozen=True, slots=True)
class InvitationService:
    """The decisions of links and requests.

    Attributes:
        max_links: good ones of one chat. Of several that are made at the same moment a few more may pass.
        max_requests: of one chat.
    """

    invitations: InvitationStore
    chats: ChatService
    members: MemberService
    max_links: int
    max_requests: int

    # -- links --------------------------------------------------------------------------------------------------------

    async def create(self, chat_id: str, wish: NewLink, *, caller: Principal) -> NewLinkView:
        """Make a link.

        Raises:
            NotFound: `unknown_chat`.
            Forbidden: `fixed_members`, `not_a_manager`.
            Conflict: `too_many_links`.
        """
        chat, _ = await self._managed(chat_id, caller)
        token, moment = creation.secret("link token"), now()
        made = await self.invitations.by_token(_digest(token)) if creation.resumed() else None
        if made is not None:
            return new_view(made, token)
        if len(await self.invitations.of_chat(chat_id, now=moment, limit=self.max_links)) >= self.max_links:
            raise Conflict(f"a chat has at most {self.max_links} links: revoke one", code="too_many_links")
        link = InvitationLink(
            id=f"inv-{creation.chosen('link', 8).hex()}",
            chat=chat_id,
            token_hash=_digest(token),
            role=permissions.default_role(chat.kind) if wish.role is None else Role(wish.role),
            created_by=caller.id,
            created_at=moment,
            expires_at=moment + timedelta(seconds=wish.expires_in),
            approval=wish.approval,
            max_uses=wish.max_uses,
        )
        await self.invitations.add(link)
        return new_view(link, token)

    async def links(self, chat_id: str, *, caller: Principal) -> LinkList:
        """The links of a chat that are good.

        Raises:
            NotFound: `unknown_chat`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        await self._managed(chat_id, caller)
        moment = now()
        found = await self.invitations.of_chat(chat_id, now=moment, limit=2 * self.max_links)
        return LinkList([view(link) for link in found if good(link, moment)])

    async def revoke(self, chat_id: str, link: str, *, caller: Principal) -> None:
        """End a link; who has come by it stays, who has asked by it still waits.

        Raises:
            NotFound: `unknown_chat`, `unknown_invitation`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        await self._managed(chat_id, caller)
        if not (_LINK.fullmatch(link) and await self.invitations.revoke(chat_id, link, now())):
            raise unknown_invitation()

    # -- coming by a link ---------------------------------------------------------------------------------------------

    async def preview(self, token: str, *, caller: Principal) -> Preview:
        """Where a link leads.

        Raises:
            NotFound: `unknown_invitation`.
        """
        link, chat, row = await self._opened(token, caller)
        return Preview(
            chat=chat.id,
            kind=chat.kind.value,
            title=chat.title,
            members=await self.members.memberships.count(chat.id),
            approval=link.approval,
            role=link.role.value,
            expires_at=link.expires_at,
            present=_present(row),
        )

    async def accept(self, token: str, *, caller: Principal) -> tuple[ChatView | Waiting, bool]:
        """Come in by a link or, if it asks for approval, ask to.

        Returns:
            the chat, or what waits; and whether it is new.

        Raises:
            NotFound: `unknown_invitation`.
            Forbidden: `removed`.
            Conflict: `too_many_members`, `too_many_requests`.
        """
        link, chat, row = await self._opened(token, caller)
        if _present(row):
            if creation.resumed():  # whether an attempt that was killed has told of it nobody knows
                await self.members.told_joined(chat, [caller.id], by=caller.id)
            return await self.chats.get(chat.id, caller=caller), creation.resumed()
        if not permissions.may_come_by_link(row):
            raise Forbidden("you were taken out of this chat: who manages it can bring you back", code="removed")
        if link.approval:
            return await self._ask(link, caller)
        (member,) = await self.members.newcomers(chat.id, [caller.id], link.role)
        new = await self.members.memberships.accept(
            link.id,
            member,
            now=now(),
            most=self.members.max_members,
            notice=notice(chat.id, System("joined", caller.id, role=link.role.value)),
        )
        if new:
            await self.members.told_joined(chat, [caller.id], by=caller.id)
        return await self.chats.get(chat.id, caller=caller), new

    async def _ask(self, link: InvitationLink, caller: Principal) -> tuple[Waiting, bool]:
        request = JoinRequest(link.chat, caller.id, link.id, link.role, now())
        new = await self.invitations.ask(request, now=request.at, most=self.max_requests)
        stored = request if new else await self.invitations.request(link.chat, caller.id)
        return Waiting(link.chat, (stored or request).at), new or creation.resumed()

    async def _opened(self, token: str, caller: Principal) -> tuple[InvitationLink, Chat, Member | None]:
        """What a token opens, and the membership that the caller has or had there. Members see where it leads also when it has ended."""
        link = await self.invitations.by_token(_digest(token))
        chat = None if link is None else await self.chats.chats.get(link.chat)
        if link is None or chat is None:
            raise unknown_invitation()
        row = await self.chats.chats.member(link.chat, caller.id)
        waits = link.approval and await self.invitations.request(link.chat, caller.id) is not None
        if not (good(link, now()) or _present(row) or waits):
            raise unknown_invitation()
        return link, chat, row

    # -- requests -----------------------------------------------------------------------------------------------------

    async def mine(self, *, caller: Principal) -> WaitingList:
        """Where the caller has asked to join."""
        found = await self.invitations.requests_of(caller.id, limit=MAX_MINE)
        return WaitingList([Waiting(request.chat, request.at) for request in found])

    async def requests(self, chat_id: str, query: PeopleQuery, *, caller: Principal) -> RequestPage:
        """Who waits to be let in.

        Raises:
            NotFound: `unknown_chat`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        await self._managed(chat_id, caller)
        found = await self.invitations.requests(chat_id, after=query.after, limit=query.limit + 1)
        shown = found[: query.limit]
        profiles = await self.members.people.profiles([row.user for row in shown], caller=caller.id)
        items = [RequestView(row.user, row.at, row.link, row.role.value, profiles.get(row.user)) for row in shown]
        return RequestPage(items, items[-1].user if len(found) > query.limit else None)

    async def approve(self, chat_id: str, user: str, *, caller: Principal) -> MemberPage:
        """Let somebody in who has asked.

        Raises:
            NotFound: `unknown_chat`, `unknown_request`.
            Forbidden: `fixed_members`, `not_a_manager`.
            Conflict: `too_many_members`.
        """
        chat, actor = await self._managed(chat_id, caller)
        request = await self.invitations.request(chat_id, user) if is_principal(user) else None
        if request is None or user not in await self.members.people.users.existing([user]):
            raise unknown_request()
        (member,) = await self.members.newcomers(chat_id, [user], request.role)
        joined = notice(chat_id, System("joined", caller.id, role=request.role.value))
        if not await self.members.memberships.approve(member, most=self.members.max_members, notice=joined):
            raise unknown_request()
        await self.members.told_joined(chat, [user], by=caller.id)
        shown = privacy.shown_to(caller.id, [actor, member])[1:]
        return MemberPage(items=[member_view(row) for row in shown], next=None)

    async def refuse(self, chat_id: str, user: str, *, caller: Principal) -> None:
        """Refuse somebody who has asked, or withdraw what one has asked oneself. The one who has asked is not told.

        Raises:
            NotFound: `unknown_chat`, `unknown_request`.
            Forbidden: `fixed_members`, `not_a_manager`.
        """
        if user != caller.id:
            await self._managed(chat_id, caller)
        gone = is_principal(user) and is_chat_id(chat_id) and await self.invitations.withdraw(chat_id, user)
        if not gone:
            raise unknown_chat() if user == caller.id else unknown_request()

    async def _managed(self, chat_id: str, caller: Principal) -> tuple[Chat, Member]:
        """A chat whose members can change, and the caller, who manages it."""
        actor = await present_member(self.chats.chats, chat_id, caller)
        chat = await self.members.group(chat_id)
        if not permissions.may_manage_members(actor):
            raise Forbidden("only the owner and admins of a chat decide who comes in", code="not_a_manager")
        return chat, actor


def unknown_invitation() -> NotFound:
    """The one answer for links that never were, have ended or are used up."""
    return NotFound("this invitation is not valid (any more)", code="unknown_invitation")


def unknown_request() -> NotFound:
    """The one answer for who has not asked, and for who is not there."""
    return NotFound("nobody of that name waits to be let in", code="unknown_request")


def _present(row: Member | None) -> bool:
    return row is not None and row.left_at is None


def _digest(token: str) -> str:
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
