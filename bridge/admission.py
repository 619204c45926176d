"""Who may write: the broker has asked already; here nobody gets past a cache that was a moment behind."""

from __future__ import annotations

from collections.abc import Sequence

from bridge.decode import Draft
from bridge.members import Members, Roster
from chat.errors import Forbidden, NotFound, PabalError
from chat.ids import is_service
from chat.permissions import may_send_blocked


class Admission:
    """Refuses messages to chats that don't exist and from people who may not write in them.

    Args:
        members: the rosters.
    """

    def __init__(self, members: Members) -> None:
        self._members = members

    async def rosters(self, drafts: Sequence[Draft]) -> dict[str, Roster]:
        """The rosters of the chats of a batch; those in which a sender may not write are read anew.

        An invalidation and the first message of a new member are on their way at the same time, so a cached no is not final.

        Raises:
            Unavailable: the store does not answer.
        """
        sends = {(draft.arrival.chat, draft.arrival.sender, draft.send.type) for draft in drafts}
        rosters = await self._members.rosters({chat for chat, _, _ in sends})
        doubtful = {
            chat for chat, sender, type_ in sends if chat not in rosters or not rosters[chat].may_send(sender, type_)
        }
        if doubtful:
            rosters |= await self._members.reload(doubtful)
        return rosters


def may_always(chat: str, sender: str, rosters: dict[str, Roster]) -> bool:
    """Whether nothing that this sender sends to the chat is refused here, whatever it is (see `refusal`)."""
    roster = rosters.get(chat)
    # Who may send messages may send everything (`chat.permissions.may_send`).
    return roster is not None and not roster.blocked and roster.may_send(sender, "message")


def refusal(draft: Draft, rosters: dict[str, Roster]) -> PabalError | None:
    """Why the sender may not write there; None if they may."""
    roster = rosters.get(draft.arrival.chat)
    if roster is None:
        return NotFound("there is no such chat", code="unknown_chat")
    if is_service(draft.arrival.sender):
        return None  # of one of our services: the broker lets nobody else speak for them
    if not roster.may_send(draft.arrival.sender, draft.send.type):
        return Forbidden("only present members with the right to write may send to a chat", code="not_a_writer")
    if roster.blocked and not may_send_blocked(draft.send.type):
        # One answer for both, so that nobody is told who has blocked whom. A cached yes is final: no look-up per refused message.
        return Forbidden("one of you has blocked the other", code="blocked")
    return None
