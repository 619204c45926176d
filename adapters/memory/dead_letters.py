"""`DeadLetterStore` in memory."""

from __future__ import annotations

from adapters.memory.records import copied
from chat.models import DeadLetter


class MemoryDeadLetters:
    """Dead letters by id."""

    def __init__(self) -> None:
        self._letters: dict[str, DeadLetter] = {}

    async def add(self, letter: DeadLetter) -> None:
        """See `DeadLetterStore.add`."""
        self._letters[letter.id] = copied(letter)

    async def page(self, *, after: str = "", limit: int = 50) -> list[DeadLetter]:
        """See `DeadLetterStore.page`."""
        return [
            copied(self._letters[id_]) for id_ in sorted(id_ for id_ in self._letters if id_ > after)[: max(0, limit)]
        ]
