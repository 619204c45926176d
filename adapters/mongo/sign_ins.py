"""Sign-ins that hold, in one question to two collections."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from adapters.mongo import grants, users
from adapters.mongo.client import Database, Document, question, translate
from chat.sign_ins import SignIn


class MongoSignIns:
    """`SignInStore` on MongoDB."""

    def __init__(self, db: Database) -> None:
        self._db = db

    @translate
    async def holding(self, sign_ins: Sequence[SignIn]) -> set[SignIn]:
        """See `SignInStore.holding`."""
        if not sign_ins:
            return set()
        return held(sign_ins, await question(self._db, grants.COLLECTION, pipeline(sign_ins)))


def pipeline(sign_ins: Sequence[SignIn]) -> list[Document]:
    """Stages on `refresh_tokens` that find a document `{sid}` per sign-in that is alive, and a `{user}` per user who may come in."""
    sids, people = {"$in": [sid for sid, _ in sign_ins]}, {"$in": [user for _, user in sign_ins]}
    return [
        {"$match": {"_id": sids, **grants.alive()}},
        {"$project": {"_id": 0, "sid": "$_id"}},
        {
            "$unionWith": {
                "coll": users.USERS,
                "pipeline": [
                    {"$match": {"_id": people, **users.welcome()}},
                    {"$project": {"_id": 0, "user": "$_id"}},
                ],
            }
        },
    ]


def held(sign_ins: Iterable[SignIn], found: Sequence[Document]) -> set[SignIn]:
    """Those that hold, by what `pipeline` found; other documents among it don't matter."""
    sids = {document["sid"] for document in found if "sid" in document}
    people = {document["user"] for document in found if "user" in document}
    return {(sid, user) for sid, user in sign_ins if sid in sids and user in people}
