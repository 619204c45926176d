"""What history needs of collection `members`; its shape is at the head of `adapters.mongo.chats`."""

from __future__ import annotations

import re

from adapters.mongo.client import Collection, translate
from chat.history import Crowd
from chat.ids import DEVICE_PREFIX

_A_DEVICE = re.compile(f"^{re.escape(DEVICE_PREFIX)}")


class MongoAudience:
    """`AudienceStore` on MongoDB."""

    def __init__(self, members: Collection) -> None:
        self.__members = members

    @translate
    async def clear(self, chat: str, user: str, seq: int) -> None:
        """See `AudienceStore.clear`."""
        await self.__members.update_one({"_id": f"{chat}/{user}", "left_at": None}, {"$max": {"cleared_seq": seq}})

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
