"""One question for many who ask the same kind of thing: a storm of logins costs a few queries, not two each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

K = TypeVar("K", bound=str | tuple[str, str])

MOST = 1_000
"""Keys in one question: a query of some 40 KB."""


class Gathered(Generic[K]):
    """Asks a store which of some keys hold, for everybody who waits for one of them.

    Who asks while a question is under way waits for the next: an answer is never older than the question. The first of a
    burst waits for the end of the event loop's turn, so that those who were read with it come along.

    Args:
        ask: which of the keys hold; one query.
    """

    def __init__(self, ask: Callable[[Sequence[K]], Awaitable[set[K]]]) -> None:
        self._ask = ask
        self._waiting: list[tuple[K, asyncio.Future[bool]]] = []
        self._asking: asyncio.Task[None] | None = None

    async def holds(self, key: K) -> bool:
        """Whether a key holds now.

        Raises:
            Unavailable: the store does not answer, and whatever else `ask` raises.
        """
        future: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._waiting.append((key, future))
        if self._asking is None:
            self._asking = asyncio.create_task(self._run())
        return await future

    async def _run(self) -> None:
        try:
            while self._waiting:
                asked, self._waiting = self._waiting[:MOST], self._waiting[MOST:]
                await self._answer(asked)
        finally:
            self._asking = None

    async def _answer(self, asked: list[tuple[K, asyncio.Future[bool]]]) -> None:
        living = [(key, future) for key, future in asked if not future.done()]  # the others have gone meanwhile
        try:
            found = await self._ask(sorted({key for key, _ in living})) if living else set()
        except Exception as error:  # noqa: BLE001 - it is theirs who asked
            for _, future in living:
                if not future.done():
                    future.set_exception(error)
            return
        for key, future in living:
            if not future.done():
                future.set_result(key in found)
