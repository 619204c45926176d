"""`DeadLetterStore` in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from adapters.memory.records import copied
from chat.models import DeadLetter, LetterEvent
from chat.ports import MAX_LETTER_HISTORY


class MemoryDeadLetters:
    """Dead letters by id."""

    def __init__(self) -> None:
        self._letters: dict[str, DeadLetter] = {}

    async def add(self, letter: DeadLetter) -> None:
        """See `DeadLetterStore.add`."""
        known = self._letters.get(letter.id)
        kept = self._letters[letter.id] = copied(letter)
        kept.history = known.history if known else []
        await self.note(letter.id, LetterEvent(letter.at, "parked", letter.reason))

    async def get(self, letter_id: str) -> DeadLetter | None:
        """See `DeadLetterStore.get`."""
        found = self._letters.get(letter_id)
        return copied(found) if found else None

    async def among(self, letter_ids: Sequence[str]) -> set[str]:
        """See `DeadLetterStore.among`."""
        return {letter_id for letter_id in letter_ids if letter_id in self._letters}

    async def note(self, letter_id: str, event: LetterEvent) -> bool:
        """See `DeadLetterStore.note`."""
        found = self._letters.get(letter_id)
        if found is None:
            return False
        found.history = [*found.history, copied(event)][-MAX_LETTER_HISTORY:]
        return True

    async def drop(self, letter_id: str) -> bool:
        """See `DeadLetterStore.drop`."""
        return self._letters.pop(letter_id, None) is not None

    async def counts(self) -> dict[str, int]:
        """See `DeadLetterStore.counts`."""
        return dict(Counter(letter.kind for letter in self._letters.values()))

    async def page(self, *, after: str = "", limit: int = 50) -> list[DeadLetter]:
        """See `DeadLetterStore.page`."""
        return [
            copied(self._letters[id_]) for id_ in sorted(id_ for id_ in self._letters if id_ > after)[: max(0, limit)]
        ]
