"""Blocks: from whom a user wants to hear nothing.

The bridge refuses what is sent in the direct chat of the two, in both directions, and knows of it by the chat's roster: so the roster is
what falls when a block comes or goes.
"""

from __future__ import annotations

from dataclasses import dataclass

from api.blocks.schemas import BlockPage, BlockView
from api.clock import now
from api.contacts.schemas import PeopleQuery
from api.members.announce import Announcer
from api.users.people import People
from chat.errors import BadInput, Conflict
from chat.ids import direct_chat_id, is_principal
from chat.people import Block
from chat.people_stores import BlockStore


@dataclass(frozen=True, slots=True)
class BlockService:
    """The decisions of `/v1/blocks`. Every change is one write of one document, then the news of it.

    Attributes:
        most: blocks of one user. Of several who are blocked at the same moment a few more may pass.
    """

    blocks: BlockStore
    people: People
    announcer: Announcer
    most: int

    async def page(self, query: PeopleQuery, *, caller: str) -> BlockPage:
        """Whom the caller has blocked, by id."""
        found = await self.blocks.page(caller, after=query.after, limit=query.limit + 1)
        shown = [BlockView(row.user, row.at) for row in found[: query.limit]]
        return BlockPage(shown, shown[-1].user if len(found) > query.limit else None)

    async def put(self, user: str, *, caller: str) -> None:
        """Block somebody; who is blocked stays so.

        Raises:
            NotFound: `unknown_user`.
            BadInput: `yourself`.
            Conflict: `too_many_blocks`.
        """
        if user == caller:
            raise BadInput("that is you", code="yourself")
        await self.people.known(user)
        if await self.blocks.count(caller) >= self.most and not await self.blocks.among([(caller, user)]):
            raise Conflict(f"a user blocks at most {self.most} others", code="too_many_blocks")
        await self.blocks.put(Block(caller, user, now()))
        await self._told(user, caller)

    async def drop(self, user: str, *, caller: str) -> None:
        """Unblock somebody; who was not blocked stays so."""
        if is_principal(user) and await self.blocks.drop(caller, user):
            await self._told(user, caller)

    async def _told(self, user: str, caller: str) -> None:
        await self.announcer.changed(direct_chat_id(caller, user), [user, caller])
        await self.announcer.related(user)
