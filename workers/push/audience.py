"""Everything that decides about the pushes of some members, read in as few queries as there are kinds of it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from adapters.stores import Stores
from chat.ids import is_device
from chat.models import Member
from chat.push_preferences import PushPreferences
from workers.push.decide import Recipient, is_person
from workers.push.notification import Words
from workers.push.work import ChatWork

Pair = tuple[ChatWork, Member]


class Audience:
    """Reads who is there.

    Args:
        platforms: those that a provider is configured for; tokens of others are no tokens.
    """

    def __init__(self, stores: Stores, platforms: frozenset[str]) -> None:
        self._stores = stores
        self._platforms = platforms

    async def recipients(self, pairs: Iterable[Pair]) -> list[tuple[ChatWork, Recipient]]:
        """The people among the members, of any chats; five queries, whatever their number.

        Raises:
            Unavailable: Mongo does not answer.
        """
        people = [(work, member) for work, member in pairs if is_person(member)]
        users = list({member.user for _, member in people})
        tokens, preferences, out, blocks = await asyncio.gather(
            self._stores.push_tokens.of_users(users),
            self._stores.push_preferences.of_users(users),
            self._stores.admin.kept_out(users),
            self._stores.blocks.among(_pairs(people)),
        )
        return [
            (
                work,
                Recipient(
                    member=member,
                    preferences=preferences.get(member.user) or PushPreferences(member.user),
                    tokens=[token for token in tokens.get(member.user, ()) if token.platform in self._platforms],
                    suspended=member.user in out,
                    blocked=frozenset(sender for sender in _senders(work) if (member.user, sender) in blocks),
                ),
            )
            for work, member in people
        ]

    async def name(self, works: Sequence[ChatWork]) -> None:
        """Give each work its `words`.

        Raises:
            Unavailable: Mongo does not answer.
        """
        senders = {sender for work in works for sender in _senders(work)}
        chats, users = await asyncio.gather(
            self._stores.chats.get_many([work.chat for work in works]),
            self._stores.users.get_many([sender for sender in senders if not is_device(sender)]),
        )
        devices = (self._stores.devices.get(sender) for sender in senders if is_device(sender))
        things = await asyncio.gather(*devices)
        names = {user.id: user.display_name for user in users.values()}
        names |= {thing.id: thing.name for thing in things if thing is not None}
        for work in works:
            chat = chats.get(work.chat)
            title = chat.title if chat is not None else None
            work.words = {sender: Words(title, names.get(sender) or sender) for sender in _senders(work)}


def _senders(work: ChatWork) -> set[str]:
    return {marked.event.sender for marked in work.events}


def _pairs(people: Sequence[Pair]) -> list[tuple[str, str]]:
    return [(member.user, sender) for work, member in people for sender in _senders(work) if sender != member.user]
