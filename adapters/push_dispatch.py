"""One `PushSender` for all platforms: each push goes to the provider of its token's platform."""

from __future__ import annotations

from collections.abc import Mapping

from chat.ports import Push, PushSender
from chat.pushes import PushRejected

FCM_PLATFORMS = frozenset({"android", "ios", "web"})
WEB_PUSH_PLATFORMS = frozenset({"webpush"})


class PushDispatcher:
    """`chat.ports.PushSender` on others.

    Args:
        senders: by the platforms that each serves.

    Attributes:
        platforms: all that are served; tokens of others need not be tried.
    """

    def __init__(self, senders: Mapping[frozenset[str], PushSender]) -> None:
        self._senders = {platform: sender for platforms, sender in senders.items() for platform in platforms}
        self.platforms = frozenset(self._senders)

    def send(self, push: Push) -> None:
        """Hand a push to its provider.

        Raises:
            PushTokenDead, PushRetry: as the provider says.
            PushRejected: it says so, or there is none for this platform.
        """
        sender = self._senders.get(push.token.platform)
        if sender is None:
            raise PushRejected(f"no provider is configured for {push.token.platform}")
        sender.send(push)
