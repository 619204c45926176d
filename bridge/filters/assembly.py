"""The chain of filters that the settings ask for, and what keeps it up to date."""

from __future__ import annotations

import asyncio

from bridge.filters import Chain, Filter
from bridge.filters.buckets import Buckets
from bridge.filters.chat_rate import ChatRate
from bridge.filters.duplicates import Duplicates
from bridge.filters.links import LinkList, Links
from bridge.filters.lists import Listed
from bridge.filters.rate import Rate
from bridge.filters.shadow import Shadow, ShadowList, StoredShadows
from bridge.filters.size import Size
from bridge.filters.words import WordList, Words
from bridge.metrics import Metrics
from bridge.settings import Settings
from chat.admin import AdminStore
from chat.ports import RateLimiter

SHARE_EVERY = 0.2
"""Seconds between two charges to the shared buckets."""

LOOK_EVERY = 10
"""Shares between two looks at the files: 2 s."""


class Filters:
    """Every filter, cheapest first: what is refused by its size or rate costs no look at its text.

    Args:
        limiter: buckets that bridges share.
        admin: who is shadow-banned by administrators; None: nobody is.

    Attributes:
        chain: to be asked.

    Raises:
        ListBroken: a file that the settings name can't be used.
    """

    def __init__(
        self, settings: Settings, limiter: RateLimiter | None, metrics: Metrics, admin: AdminStore | None = None
    ) -> None:
        sender = Buckets("send", rate=settings.bridge_rate, burst=settings.bridge_burst, shared=limiter)
        chat = Buckets("chat", rate=settings.bridge_chat_rate, burst=settings.bridge_chat_burst, shared=limiter)
        self._buckets = (sender, chat)
        self._lists: list[Listed[WordList] | Listed[LinkList] | Listed[ShadowList] | StoredShadows] = []
        filters: list[Filter] = [Size(max_text=settings.bridge_max_text), Rate(sender), ChatRate(chat)]
        if settings.bridge_duplicates:
            filters.append(Duplicates(most=settings.bridge_duplicates, within=settings.bridge_duplicates_within))
        if settings.bridge_words_file is not None:
            words = Listed(settings.bridge_words_file, WordList)
            filters.append(Words(words))
            self._lists.append(words)
        if settings.bridge_links_file is not None:
            links = Listed(settings.bridge_links_file, LinkList)
            filters.append(Links(links))
            self._lists.append(links)
        shadows: list[Listed[ShadowList] | StoredShadows] = []
        if settings.bridge_shadow_file is not None:
            shadows.append(Listed(settings.bridge_shadow_file, ShadowList.read))
        if admin is not None:
            shadows.append(StoredShadows(admin))
        if shadows:
            filters.append(Shadow(shadows, metrics.shadowed.inc))
            self._lists += shadows
        self.chain = Chain(filters)

    async def run(self) -> None:
        """Keep buckets shared and lists fresh until cancelled."""
        while True:
            await self.refresh()
            for _ in range(LOOK_EVERY):
                await asyncio.sleep(SHARE_EVERY)
                for buckets in self._buckets:
                    await buckets.share()

    async def refresh(self) -> None:
        """Look whether a list has changed."""
        for listed in self._lists:
            await listed.refresh()
