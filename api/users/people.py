"""What people are to each other: who may be brought into a chat by whom, and what they show of themselves."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

from api.users.schemas import Profile
from chat import permissions
from chat.errors import Forbidden, NotFound
from chat.ids import is_device, is_principal, is_service
from chat.models import User
from chat.people_stores import BlockStore, ContactStore
from chat.ports import DeviceStore, UserStore


def unknown_user() -> NotFound:
    """The one answer for who is not there, and for who is disabled."""
    return NotFound("there is no such user", code="unknown_user")


@dataclass(frozen=True, slots=True)
class People:
    """Finds out who somebody is to the caller."""

    users: UserStore
    devices: DeviceStore
    contacts: ContactStore
    blocks: BlockStore

    async def check(self, ids: Sequence[str], *, caller: str, reach: bool = True) -> None:
        """Every id is a user who is not disabled and lets the caller come near, or a device of the caller's.

        Args:
            reach: whether they have to let the caller come near.

        Raises:
            NotFound: `unknown_user`; a device of somebody else gets the same answer as one that does not exist.
            Forbidden: `not_reachable`.
        """
        people = [id_ for id_ in ids if _person(id_)]
        things = [id_ for id_ in ids if is_device(id_) and is_principal(id_)]
        users = {user.id: user for user in (await self.users.get_many(people)).values() if not user.disabled}
        known = set(users)
        for device in await asyncio.gather(*(self.devices.get(thing) for thing in things)):
            if device is not None and device.owner == caller and not device.disabled:
                known.add(device.id)
        missing = [id_ for id_ in ids if id_ not in known]
        if missing:
            raise NotFound(f"no such user, or device of yours: {_shown(missing)}", code="unknown_user")
        far = await self._far(list(users.values()), caller) if reach else []
        if far:
            raise Forbidden(f"they can't be brought into a chat by you: {_shown(far)}", code="not_reachable")

    async def _far(self, users: Sequence[User], caller: str) -> list[str]:
        """Those who do not let the caller come near."""
        contacts, blocks = await self._towards(users, caller)
        return [
            user.id
            for user in users
            if user.id != caller
            and not permissions.may_reach(user, contact=user.id in contacts, blocked=user.id in blocks)
        ]

    async def known(self, user: str) -> User:
        """A user who is there and not disabled.

        Raises:
            NotFound: `unknown_user`.
        """
        found = await self.users.get(user) if _person(user) else None
        if found is None or found.disabled:
            raise unknown_user()
        return found

    async def profiles(self, ids: Sequence[str], *, caller: str) -> dict[str, Profile]:
        """What the caller may see of those of the ids who are there: three queries, however many they are."""
        users = [user for user in (await self.users.get_many(ids)).values() if not user.disabled]
        contacts, blocks = await self._towards(users, caller)
        return {user.id: profile(user, caller, user.id in contacts, user.id in blocks) for user in users}

    async def _towards(self, users: Sequence[User], caller: str) -> tuple[set[str], set[str]]:
        """Those of the users who have the caller among their contacts, and those who have blocked them."""
        pairs = [(user.id, caller) for user in users if user.id != caller]
        contacts, blocks = await asyncio.gather(self.contacts.among(pairs), self.blocks.among(pairs))
        return {owner for owner, _ in contacts}, {owner for owner, _ in blocks}


def profile(user: User, viewer: str, contact: bool, blocked: bool) -> Profile:
    """The user as `viewer` may see them."""
    if user.id == viewer or permissions.shows_profile(user, contact=contact, blocked=blocked):
        return Profile(user.id, user.display_name, user.about, user.avatar)
    return Profile(user.id, user.display_name, "", None)


def _person(id_: str) -> bool:
    return is_principal(id_) and not is_device(id_) and not is_service(id_)


def _shown(ids: Sequence[str]) -> str:
    return ", ".join(repr(id_) for id_ in ids[:5])
