"""Shadow ban: what some people send is stored and acknowledged as ever, and nobody but themselves gets to see it.

Two lists count together: a text file, one user or device per line, and the users whom administrators have shadow-banned (`chat.admin`). What is stored carries `only` (`chat.views`): the sender's own copy goes to their
inbox and is in their history and sync, everybody else finds a `void` in its slot. It does not count as a message, wakes nobody, and
changes nothing that others see. Lifting the ban does not bring it to light.

The PUBACK is honest: the message is stored (P1). The ban is not: who compares two accounts finds it out.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import structlog

from bridge.decode import Draft
from bridge.filters.lists import ListBroken, Listed, entries
from chat.admin import AdminStore
from chat.errors import Unavailable
from chat.ids import is_principal

_log = structlog.get_logger("lists")


class ShadowList(frozenset[str]):
    """Who is banned."""

    @classmethod
    def read(cls, text: str) -> ShadowList:
        """From the text of the file.

        Raises:
            ListBroken: a line is no user or device.
        """
        found = dict(entries(text))
        wrong = next((number for number, name in found.items() if not is_principal(name)), None)
        if wrong is not None:
            raise ListBroken(f"line {wrong} is no user or device")
        return cls(found.values())


class StoredShadows:
    """Who is banned, as administrators have said.

    Attributes:
        value: as it was read last; while the database does not answer it stays.
    """

    def __init__(self, admin: AdminStore) -> None:
        self._admin = admin
        self.value = ShadowList()

    async def refresh(self) -> None:
        """Read it anew. Never raises."""
        try:
            found = ShadowList(await self._admin.shadowed())
        except Unavailable as error:
            _log.warning("shadows.unavailable", reason=error.reason)
            return
        if found != self.value:
            _log.info("shadows.loaded", entries=len(found))
        self.value = found


class Shadow:
    """Marks what is for its sender's eyes only; refuses nobody.

    Args:
        lists: who is banned, as they say now.
        count: called for each message.
    """

    def __init__(self, lists: Sequence[Listed[ShadowList] | StoredShadows], count: Callable[[], None]) -> None:
        self._lists = lists
        self._count = count

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        sender = draft.arrival.sender
        for listed in self._lists:  # a loop: any() with a generator takes three times as long, for each message
            if sender in listed.value:
                draft.only = sender
                self._count()
                return
