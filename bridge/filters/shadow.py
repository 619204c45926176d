"""Shadow ban: what some people send is stored and acknowledged as ever, and nobody but themselves gets to see it.

The list is a text file, one user or device per line. What is stored carries `only` (`chat.views`): the sender's own copy goes to their
inbox and is in their history and sync, everybody else finds a `void` in its slot. It does not count as a message, wakes nobody, and
changes nothing that others see. Lifting the ban does not bring it to light.

The PUBACK is honest: the message is stored (P1). The ban is not: who compares two accounts finds it out.
"""

from __future__ import annotations

from collections.abc import Callable

from bridge.decode import Draft
from bridge.filters.lists import ListBroken, Listed, entries
from chat.ids import is_principal


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


class Shadow:
    """Marks what is for its sender's eyes only; refuses nobody.

    Args:
        listed: who is banned, as the file says now.
        count: called for each message.
    """

    def __init__(self, listed: Listed[ShadowList], count: Callable[[], None]) -> None:
        self._listed = listed
        self._count = count

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        if draft.arrival.sender in self._listed.value:
            draft.only = draft.arrival.sender
            self._count()
