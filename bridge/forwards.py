"""Forwards: a message of one chat becomes a new message of another, in the words of the first and naming its author.

The server copies it, so that nobody can put words into somebody's mouth. Whoever forwards must be able to read the source now: be in its
chat, and it must be a message there that is not deleted, and not somebody else's own.
"""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from bridge.decode import Draft
from bridge.members import Members
from bridge.rights import unknown_target
from chat.envelopes import Event
from chat.errors import PabalError, Refused
from chat.events import Forwarded
from chat.ports import MessageStore


class Forwards:
    """Finds what is forwarded.

    Args:
        messages: the store of the sources.
        members: who may read them.
    """

    def __init__(self, messages: MessageStore, members: Members) -> None:
        self._messages = messages
        self._members = members

    async def resolve(self, drafts: Sequence[Draft]) -> list[tuple[Draft, PabalError]]:
        """Make each draft of type `forward` the message that it stands for; those that can't be, with the reason.

        Raises:
            Unavailable: the store does not answer; run it again.
        """
        pending = [draft for draft in drafts if draft.send.type == "forward"]
        sources = await self._messages.by_ids([draft.send.target or "" for draft in pending])
        rosters = await self._members.rosters({source.chat for source in sources.values()})
        refused: list[tuple[Draft, PabalError]] = []
        for draft in pending:
            source, sender = sources.get(draft.send.target or ""), draft.arrival.sender
            if source is None or source.chat not in rosters or sender not in rosters[source.chat]:
                refused.append((draft, unknown_target("forward")))
                continue
            error = _unfit(source, sender)
            if error is not None:
                refused.append((draft, error))
            else:
                draft.forwarded = source.forwarded or Forwarded(source.id, source.sender, source.at)
                draft.send = replace(draft.send, type="message", body=source.body, target=None)
        return refused


def _unfit(source: Event, sender: str) -> PabalError | None:
    if source.type != "message" or source.only not in (None, sender) or sender in source.hidden_by:
        return unknown_target("forward")
    if source.body is None:
        return Refused("the message has been deleted", code="target_deleted")
    if source.body.cipher is not None:
        return Refused("only who can read an encrypted message can pass it on", code="encrypted")
    return None
