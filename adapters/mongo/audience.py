"""What history and badges need of collection `members`; its shape is at the head of `adapters.mongo.chats`."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence

from adapters.mongo.client import Collection, fetch, translate
from chat.history import Crowd
from chat.ids import DEVICE_PREFIX

_PER_QUERY = 500

_A_DEVICE = re.compile(f"^{re.escape(DEVICE_PREFIX)}")


class MongoAudience:
    """`AudienceStore` on MongoDB."""

    def __init__(self, members: Collection, chats: Collection) -> None:
        self.__members = members
        self.__chats = chats

    @translate
    async def clear(self, chat: str, user: str, seq: int) -> None:
        """See `AudienceStore.clear`."""
        await self.__members.update_one({"_id": f"{chat}/{user}", "left_at": None}, {"$max": {"cleared_seq": seq}})

    @translate
    async def cleared(self, user: str, chats: Sequence[str]) -> dict[str, int]:
        """See `AudienceStore.cleared`."""
        found: dict[str, int] = {}
        for start in range(0, len(chats), _PER_QUERY):
            ids = [f"{chat}/{user}" for chat in chats[start : start + _PER_QUERY]]
            query = {"_id": {"$in": ids}, "cleared_seq": {"$gt": 0}}
            rows = await fetch(self.__members, query, {"_id": 0, "chat_id": 1, "cleared_seq": 1})
            found.update((row["chat_id"], int(row["cleared_seq"])) for row in rows)
        return found

    @translate
    async def crowds(self, chat: str, first: int, last: int) -> list[Crowd]:
        """See `AudienceStore.crowds`: one pass over the members, counted by the database."""
        floor = max(0, first - 1)

        def within(value: object) -> dict[str, object]:
            return {"$max": [floor, {"$min": [value, last]}]}

        hidden = {"$eq": ["$hides_seen", True]}
        point = {
            "joined": within("$joined_seq"),
            "delivered": within({"$max": ["$delivered_seq", "$seen_seq"]}),
            "seen": {"$cond": [hidden, floor, within("$seen_seq")]},
        }
        people = {"chat_id": chat, "user_id": {"$not": _A_DEVICE}, "left_at": None}
        cursor = await self.__members.aggregate([{"$match": people}, {"$group": {"_id": point, "count": {"$sum": 1}}}])
        return [
            Crowd(int(at["joined"]), int(at["delivered"]), int(at["seen"]), int(count))
            for at, count in [(row["_id"], row["count"]) for row in await cursor.to_list()]
        ]

    @translate
    async def unread(self, users: Sequence[str], *, heads: Mapping[str, int]) -> dict[str, int]:
        """See `AudienceStore.unread`: two queries, whatever the number of users."""
        if not users:
            return {}
        mine = {"user_id": {"$in": list(users)}, "left_at": None}
        rows = await fetch(self.__members, mine, {"_id": 0, "user_id": 1, "chat_id": 1, "seen_n": 1})
        chats = list({row["chat_id"] for row in rows})
        found = await fetch(self.__chats, {"_id": {"$in": chats}}, {"last_n": 1}) if chats else []
        last = {row["_id"]: max(int(row.get("last_n", 0)), heads.get(row["_id"], 0)) for row in found}
        counts = dict.fromkeys(users, 0)
        for row in rows:
            counts[row["user_id"]] += max(0, last.get(row["chat_id"], 0) - int(row["seen_n"]))
        return counts
