"""Collections `users` and `devices`.

`users`: `_id` handle · `display_name` string · `password_hash` string (argon2id) · `created_at` date · `admin` bool · `disabled` bool ·
`hides_seen` bool? (absent: no) · `identity` string?, of who signs in at an OpenID provider · `about` string? · `avatar` string? (an address) · `profile_for`, `reachable_by` string? (`everyone`, `contacts`;
absent: everyone) · `blocked_until` date?, and more that administrators set (`adapters.mongo.admin`).

Who is disabled, or kept out until a time that has not come, is read as `disabled`; so is a device whose owner is.

| index on `users` | for |
|---|---|
| unique, partial `identity` | who signs in there, once |

`devices`: `_id` device id (`dev-…`) · `owner_id` string · `name` string · `secret_hash` string (SHA-256, hex) · `created_at` date ·
`disabled` bool.

| index on `devices` | for |
|---|---|
| `(owner_id, _id)` | the devices of a user, by id |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, fetch, translate
from chat.models import Circle, Device, User

USERS = "users"
DEVICES = "devices"
IDENTITY_INDEXES = [
    IndexModel([("identity", ASCENDING)], unique=True, partialFilterExpression={"identity": {"$exists": True}})
]
DEVICE_INDEXES = [IndexModel([("owner_id", ASCENDING), ("_id", ASCENDING)])]


class MongoUsers:
    """`UserStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._users = db[USERS]

    @translate
    async def add(self, user: User) -> bool:
        """See `UserStore.add`."""
        document: Document = {
            "_id": user.id,
            "display_name": user.display_name,
            "password_hash": user.password_hash,
            "created_at": user.created_at,
            "admin": user.admin,
            "disabled": user.disabled,
            "hides_seen": user.hides_seen,
            **_profile_of(user),
        }
        if user.identity is not None:
            document["identity"] = user.identity
        try:
            await self._users.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def get(self, user: str) -> User | None:
        """See `UserStore.get`."""
        document = await self._users.find_one({"_id": user})
        return None if document is None else _to_user(document)

    @translate
    async def get_many(self, ids: Sequence[str]) -> dict[str, User]:
        """See `UserStore.get_many`."""
        if not ids:
            return {}
        return {row["_id"]: _to_user(row) for row in await fetch(self._users, {"_id": {"$in": list(ids)}})}

    @translate
    async def set_profile(self, user: str, changes: Mapping[str, str | None]) -> bool:
        """See `UserStore.set_profile`."""
        if not changes:
            return await self._users.find_one({"_id": user}, {"_id": 1}) is not None
        return bool((await self._users.update_one({"_id": user}, {"$set": dict(changes)})).matched_count)

    @translate
    async def by_identity(self, identity: str) -> User | None:
        """See `UserStore.by_identity`."""
        document = await self._users.find_one({"identity": identity})
        return None if document is None else _to_user(document)

    @translate
    async def set_hides_seen(self, user: str, *, hides: bool) -> bool:
        """See `UserStore.set_hides_seen`."""
        result = await self._users.update_one({"_id": user}, {"$set": {"hides_seen": hides}})
        return bool(result.matched_count)

    @translate
    async def set_password(self, user: str, *, was: str, now: str) -> bool:
        """See `UserStore.set_password`."""
        result = await self._users.update_one({"_id": user, "password_hash": was}, {"$set": {"password_hash": now}})
        return bool(result.matched_count)

    @translate
    async def hiding(self, ids: Sequence[str]) -> set[str]:
        """See `UserStore.hiding`."""
        if not ids:
            return set()
        documents = await fetch(self._users, {"_id": {"$in": list(ids)}, "hides_seen": True}, {"_id": 1})
        return {document["_id"] for document in documents}

    @translate
    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `UserStore.existing`."""
        if not ids:
            return set()
        documents = await fetch(self._users, {"_id": {"$in": list(ids)}, **welcome()}, {"_id": 1})
        return {document["_id"] for document in documents}


class MongoDevices:
    """`DeviceStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._devices = db[DEVICES]
        self._users = db[USERS]

    @translate
    async def add(self, device: Device) -> bool:
        """See `DeviceStore.add`."""
        try:
            await self._devices.insert_one(
                {
                    "_id": device.id,
                    "owner_id": device.owner,
                    "name": device.name,
                    "secret_hash": device.secret_hash,
                    "created_at": device.created_at,
                    "disabled": device.disabled,
                }
            )
        except DuplicateKeyError:
            return False
        return True

    @translate
    async def get(self, device: str) -> Device | None:
        """See `DeviceStore.get`."""
        document = await self._devices.find_one({"_id": device})
        if document is None:
            return None
        found = _to_device(document)
        found.disabled = found.disabled or bool(await kept_out(self._users, [found.owner]))
        return found

    @translate
    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `DeviceStore.existing`."""
        if not ids:
            return set()
        query = {"_id": {"$in": list(ids)}, "disabled": False}
        documents = await fetch(self._devices, query, {"_id": 1, "owner_id": 1})
        out = await kept_out(self._users, sorted({document["owner_id"] for document in documents}))
        return {document["_id"] for document in documents if document["owner_id"] not in out}

    @translate
    async def owned_by(self, owner: str) -> list[Device]:
        """See `DeviceStore.owned_by`; by id."""
        documents = await fetch(self._devices, {"owner_id": owner}, sort=[("_id", ASCENDING)])
        return [_to_device(document) for document in documents]

    @translate
    async def set_secret(self, device: str, secret_hash: str) -> bool:
        """See `DeviceStore.set_secret`."""
        result = await self._devices.update_one({"_id": device}, {"$set": {"secret_hash": secret_hash}})
        return bool(result.matched_count)

    @translate
    async def update(self, device: str, *, name: str | None = None, disabled: bool | None = None) -> bool:
        """See `DeviceStore.update`."""
        wanted = {"name": name, "disabled": disabled}
        changes = {field: value for field, value in wanted.items() if value is not None}
        if not changes:
            return await self._devices.find_one({"_id": device}, {"_id": 1}) is not None
        return bool((await self._devices.update_one({"_id": device}, {"$set": changes})).matched_count)


def _profile_of(user: User) -> Document:
    """What a user may leave out."""
    return {
        "about": user.about,
        "avatar": user.avatar,
        "profile_for": user.profile_for.value,
        "reachable_by": user.reachable_by.value,
    }


def _to_user(document: Document) -> User:
    return User(
        id=document["_id"],
        display_name=document["display_name"],
        password_hash=document["password_hash"],
        created_at=document["created_at"],
        admin=document["admin"],
        disabled=_is_out(document),
        hides_seen=document.get("hides_seen", False),
        about=document.get("about", ""),
        avatar=document.get("avatar"),
        profile_for=Circle(document.get("profile_for", Circle.EVERYONE)),
        reachable_by=Circle(document.get("reachable_by", Circle.EVERYONE)),
        identity=document.get("identity"),
    )


def welcome() -> Document:
    """The condition that a user may come in: neither disabled nor kept out."""
    return {"disabled": False, "blocked_until": {"$not": {"$gt": datetime.now(UTC)}}}


async def kept_out(users: Collection, ids: Sequence[str]) -> set[str]:
    """Those of the ids that are users who may do nothing now."""
    if not ids:
        return set()
    out: list[Document] = [{"disabled": True}, {"blocked_until": {"$gt": datetime.now(UTC)}}]
    return {document["_id"] for document in await fetch(users, {"_id": {"$in": list(ids)}, "$or": out}, {"_id": 1})}


def _is_out(document: Document) -> bool:
    until: datetime | None = document.get("blocked_until")
    return bool(document["disabled"]) or (until is not None and until > datetime.now(UTC))


def _to_device(document: Document) -> Device:
    return Device(
        id=document["_id"],
        owner=document["owner_id"],
        name=document["name"],
        secret_hash=document["secret_hash"],
        created_at=document["created_at"],
        disabled=document["disabled"],
    )
