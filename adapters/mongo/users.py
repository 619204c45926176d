"""Collections `users` and `devices`.

`users`: `_id` handle · `display_name` string · `password_hash` string (argon2id) · `created_at` date · `admin` bool · `disabled` bool ·
`hides_seen` bool? (absent: no) · `identity` string?, of who signs in at an OpenID provider.

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

from collections.abc import Sequence

from pymongo import ASCENDING, IndexModel
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Database, Document, fetch, translate
from chat.models import Device, User

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
        documents = await fetch(self._users, {"_id": {"$in": list(ids)}, "disabled": False}, {"_id": 1})
        return {document["_id"] for document in documents}


class MongoDevices:
    """`DeviceStore` on the collection above."""

    def __init__(self, db: Database) -> None:
        self._devices = db[DEVICES]

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
        return None if document is None else _to_device(document)

    @translate
    async def existing(self, ids: Sequence[str]) -> set[str]:
        """See `DeviceStore.existing`."""
        if not ids:
            return set()
        documents = await fetch(self._devices, {"_id": {"$in": list(ids)}, "disabled": False}, {"_id": 1})
        return {document["_id"] for document in documents}

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


def _to_user(document: Document) -> User:
    return User(
        id=document["_id"],
        display_name=document["display_name"],
        password_hash=document["password_hash"],
        created_at=document["created_at"],
        admin=document["admin"],
        disabled=document["disabled"],
        hides_seen=document.get("hides_seen", False),
        identity=document.get("identity"),
    )


def _to_device(document: Document) -> Device:
    return Device(
        id=document["_id"],
        owner=document["owner_id"],
        name=document["name"],
        secret_hash=document["secret_hash"],
        created_at=document["created_at"],
        disabled=document["disabled"],
    )
