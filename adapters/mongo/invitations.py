"""Collections `invitations` and `join_requests`.

`invitations`: one document per link into a chat.

| field | type | meaning |
|---|---|---|
| `_id` | string | link id, `inv-…`: names it, opens nothing |
| `chat_id` | string | |
| `token_hash` | string | SHA-256 (hex) of the token that opens it |
| `role` | string | what those become who come by it |
| `approval` | bool | they ask, and a manager decides |
| `created_by`, `created_at`, `expires_at` | string, date, date | |
| `max_uses`, `uses` | int?, int | how many may come by it, and how many have |
| `revoked_at` | date? | |

| index | for |
|---|---|
| unique `token_hash` | a token that is shown |
| `(chat_id, created_at)` | the links of a chat, the newest first |
| TTL `expires_at`, a week | forgets links that ended |

`join_requests`: one document per user who waits at the door of a chat.

`_id` string, `{chat_id}/{user_id}` · `chat_id`, `user_id` string · `link_id` string · `role` string · `at` date.

| index | for |
|---|---|
| `(chat_id, user_id)` | who waits, page by page |
| `(user_id, chat_id)` | what a user has asked |
| TTL `at`, 30 days | forgets what nobody answers |
"""

from __future__ import annotations

from datetime import datetime

from pymongo import ASCENDING, DESCENDING, IndexModel, ReturnDocument
from pymongo.asynchronous.client_session import AsyncClientSession
from pymongo.errors import DuplicateKeyError

from adapters.mongo.client import Collection, Database, Document, fetch, translate
from adapters.mongo.transactions import transact
from chat.errors import Conflict, NotFound
from chat.models import Role
from chat.people import InvitationLink, JoinRequest

INVITATIONS = "invitations"
REQUESTS = "join_requests"
KEPT_SECONDS = 7 * 86_400
WAITING_SECONDS = 30 * 86_400
INDEXES = [
    IndexModel([("token_hash", ASCENDING)], unique=True),
    IndexModel([("chat_id", ASCENDING), ("created_at", DESCENDING)]),
    IndexModel([("expires_at", ASCENDING)], expireAfterSeconds=KEPT_SECONDS),
]
REQUEST_INDEXES = [
    IndexModel([("chat_id", ASCENDING), ("user_id", ASCENDING)]),
    IndexModel([("user_id", ASCENDING), ("chat_id", ASCENDING)]),
    IndexModel([("at", ASCENDING)], expireAfterSeconds=WAITING_SECONDS),
]


class MongoInvitations:
    """`InvitationStore` on the collections above."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._links = db[INVITATIONS]
        self._requests = db[REQUESTS]

    @translate
    async def add(self, link: InvitationLink) -> None:
        """See `InvitationStore.add`."""
        await self._links.insert_one(_from_link(link))

    @translate
    async def by_token(self, token_hash: str) -> InvitationLink | None:
        """See `InvitationStore.by_token`."""
        document = await self._links.find_one({"token_hash": token_hash})
        return None if document is None else _to_link(document)

    @translate
    async def of_chat(self, chat: str, *, now: datetime, limit: int) -> list[InvitationLink]:
        """See `InvitationStore.of_chat`."""
        query = {"chat_id": chat, "revoked_at": None, "expires_at": {"$gt": now}}
        rows = await fetch(self._links, query, sort=[("created_at", DESCENDING)], limit=limit)
        return [_to_link(row) for row in rows]

    @translate
    async def revoke(self, chat: str, link: str, at: datetime) -> bool:
        """See `InvitationStore.revoke`: one conditional write."""
        mine = {"_id": link, "chat_id": chat}
        result = await self._links.update_one({**mine, "revoked_at": None}, {"$set": {"revoked_at": at}})
        return bool(result.matched_count) or await self._links.find_one(mine, {"_id": 1}) is not None

    @translate
    async def requests(self, chat: str, *, after: str = "", limit: int) -> list[JoinRequest]:
        """See `InvitationStore.requests`."""
        query = {"chat_id": chat, "user_id": {"$gt": after}}
        rows = await fetch(self._requests, query, sort=[("user_id", ASCENDING)], limit=limit)
        return [_to_request(row) for row in rows]

    @translate
    async def request(self, chat: str, user: str) -> JoinRequest | None:
        """See `InvitationStore.request`."""
        document = await self._requests.find_one({"_id": request_key(chat, user)})
        return None if document is None else _to_request(document)

    @translate
    async def requests_of(self, user: str, *, limit: int) -> list[JoinRequest]:
        """See `InvitationStore.requests_of`."""
        rows = await fetch(self._requests, {"user_id": user}, sort=[("chat_id", ASCENDING)], limit=limit)
        return [_to_request(row) for row in rows]

    @translate
    async def withdraw(self, chat: str, user: str) -> bool:
        """See `InvitationStore.withdraw`."""
        return bool((await self._requests.delete_one({"_id": request_key(chat, user)})).deleted_count)

    @translate
    async def ask(self, request: JoinRequest, *, now: datetime, most: int) -> bool:
        """See `InvitationStore.ask`."""
        key = request_key(request.chat, request.user)

        async def work(session: AsyncClientSession) -> bool:
            if await self._requests.find_one({"_id": key}, {"_id": 1}, session=session) is not None:
                return False
            await use(self._links, request.link, now, session)
            if await self._requests.count_documents({"chat_id": request.chat}, session=session) >= most:
                raise Conflict("too many wait to be let in already", code="too_many_requests")
            document = {
                "_id": key,
                "chat_id": request.chat,
                "user_id": request.user,
                "link_id": request.link,
                "role": request.role.value,
                "at": request.at,
            }
            await self._requests.insert_one(document, session=session)
            return True

        try:
            return await transact(self._db, work)
        except DuplicateKeyError:  # the same user asked twice at once
            return False


def unknown_invitation() -> NotFound:
    """The one answer for links that never were, have ended or are used up."""
    return NotFound("this invitation is not valid (any more)", code="unknown_invitation")


async def use(links: Collection, link: str, now: datetime, session: AsyncClientSession) -> None:
    """Count one more use of a link, within a transaction: of many who come at once, no more than may.

    Raises:
        NotFound: `unknown_invitation`: it is not good (any more).
    """
    good: Document = {
        "_id": link,
        "revoked_at": None,
        "expires_at": {"$gt": now},
        "$expr": {"$or": [{"$lte": ["$max_uses", None]}, {"$lt": ["$uses", "$max_uses"]}]},
    }
    used = await links.find_one_and_update(
        good, {"$inc": {"uses": 1}}, {"_id": 1}, return_document=ReturnDocument.AFTER, session=session
    )
    if used is None:
        raise unknown_invitation()


def request_key(chat: str, user: str) -> str:
    """The `_id` of a request to join."""
    return f"{chat}/{user}"


def _from_link(link: InvitationLink) -> Document:
    document: Document = {
        "_id": link.id,
        "chat_id": link.chat,
        "token_hash": link.token_hash,
        "role": link.role.value,
        "approval": link.approval,
        "created_by": link.created_by,
        "created_at": link.created_at,
        "expires_at": link.expires_at,
        "uses": link.uses,
    }
    if link.max_uses is not None:
        document["max_uses"] = link.max_uses
    if link.revoked_at is not None:
        document["revoked_at"] = link.revoked_at
    return document


def _to_link(document: Document) -> InvitationLink:
    return InvitationLink(
        id=document["_id"],
        chat=document["chat_id"],
        token_hash=document["token_hash"],
        role=Role(document["role"]),
        created_by=document["created_by"],
        created_at=document["created_at"],
        expires_at=document["expires_at"],
        approval=document["approval"],
        max_uses=document.get("max_uses"),
        uses=int(document["uses"]),
        revoked_at=document.get("revoked_at"),
    )


def _to_request(document: Document) -> JoinRequest:
    return JoinRequest(
        chat=document["chat_id"],
        user=document["user_id"],
        link=document["link_id"],
        role=Role(document["role"]),
        at=document["at"],
    )
