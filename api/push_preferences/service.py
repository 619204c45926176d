"""What a user wants of pushes."""

from __future__ import annotations

from dataclasses import dataclass

from api.push_preferences.schemas import Preferences, Wanted
from chat.push_preferences import PushPreferences, PushPreferenceStore, Shows, check_quiet


@dataclass(frozen=True, slots=True)
class PushPreferenceService:
    """The decisions of `/v1/me/push-preferences`."""

    store: PushPreferenceStore

    async def get(self, user: str) -> Preferences:
        """Theirs, or those of whoever has said nothing."""
        found = (await self.store.of_users([user])).get(user) or PushPreferences(user)
        return Preferences(found.shows.value, found.mentions, found.quiet)

    async def put(self, wanted: Wanted, *, caller: str) -> Preferences:
        """Holds from the next push on.

        Raises:
            BadInput: `unknown_time_zone`, `empty_quiet_hours`.
        """
        quiet = None if wanted.quiet is None else check_quiet(wanted.quiet.start, wanted.quiet.end, wanted.quiet.zone)
        await self.store.put(PushPreferences(caller, Shows(wanted.shows), wanted.mentions, quiet))
        return await self.get(caller)
