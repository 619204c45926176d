"""`PushPreferenceStore` in memory."""

from __future__ import annotations

from collections.abc import Sequence

from adapters.memory.records import copied
from chat.push_preferences import PushPreferences


class MemoryPushPreferences:
    """Preferences by user."""

    def __init__(self) -> None:
        self._preferences: dict[str, PushPreferences] = {}

    async def put(self, preferences: PushPreferences) -> None:
        """See `PushPreferenceStore.put`."""
        self._preferences[preferences.user] = copied(preferences)

    async def of_users(self, users: Sequence[str]) -> dict[str, PushPreferences]:
        """See `PushPreferenceStore.of_users`."""
        return {user: copied(self._preferences[user]) for user in users if user in self._preferences}
