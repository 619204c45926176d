"""What sync takes and answers."""

from __future__ import annotations

from typing import Annotated, Any

import msgspec
from pydantic import BaseModel, ConfigDict, Field

from chat.envelopes import MAX_TARGETS


class SyncQuery(BaseModel):
    """`GET /v1/sync?cursor={chat}:{seq}&cursor={chat}:{seq}…`: one cursor per chat, the last `seq` that the client holds."""

    model_config = ConfigDict(extra="forbid")

    cursor: list[Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{1,64}:[0-9]{1,15}$")]] = Field(
        default=[],
        max_length=10 * MAX_TARGETS,
        description="`{chat}:{seq}`; 0 when nothing of the chat is held",
        examples=[["g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31:7"]],
    )
    limit: int = Field(default=100, ge=1, le=500, description="at most so many events per chat")


Item = Annotated[
    Any,
    msgspec.Meta(
        extra_json_schema={"anyOf": [{"$ref": "#/components/schemas/SyncPage"}, {"$ref": "#/components/schemas/Reset"}]}
    ),
]


class SyncAnswer(msgspec.Struct):
    """One `SyncPage` (`type: sync`) or `Reset` (`type: reset`) per cursor, in their order, as on the inbox."""

    items: list[Item]


SYNC_PAGE_EXAMPLE = {
    "chat": "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31",
    "events": [],
    "next": 7,
    "limited": False,
    "last": 7,
    "type": "sync",
}
RESET_EXAMPLE = {"chat": "g-1", "reason": "unknown_chat", "type": "reset"}
SYNC_EXAMPLE = {"items": [SYNC_PAGE_EXAMPLE, RESET_EXAMPLE]}
