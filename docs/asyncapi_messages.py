"""What travels on the topics, for `docs/asyncapi.yaml`: each message with its summary, its type and examples.

Examples are structs where there are structs, so that none can be wrong.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
from msgspec.structs import replace

from chat.envelopes import (
    Ack,
    Announcement,
    Attachment,
    Body,
    Connection,
    Delivered,
    DeliveredMark,
    Event,
    Forwarded,
    Invitation,
    Mark,
    ReceiptUpdate,
    Reject,
    Reset,
    Send,
    SyncDone,
    SyncPage,
    SyncRequest,
    System,
)

CHAT = "g-3f2a9d0c5b7e4f1a8c6d2e0b9a7f5c31"
_ID = "01890a5d-ac96-774b-bcce-b302099a8057"
_OTHER_ID = "01890a5d-ad01-7c2e-9f3a-5d7b1c2e4f60"
_AT = datetime(2026, 5, 4, 3, 12, 1, 123_000, tzinfo=UTC)
_EVENT = Event(
    type="message", id=_ID, chat=CHAT, seq=7, n=6, sender="bada", at=_AT, body=Body(text="안녕하세요, 하늘님")
)

# Message name -> (summary, struct, examples by name). Structs without default values are written as they travel.
ENVELOPES: dict[str, tuple[str, type[msgspec.Struct], dict[str, msgspec.Struct]]] = {
    "Send": (
        "A new message or a forwarded one, or something about a message: edit, delete (for everyone), hide (for oneself), reaction, unreact (takes the same reaction back), pin, unpin",
        Send,
        {
            "text": Send(id=_ID, body=Body(text="안녕하세요, 하늘님")),
            "answer": Send(id=_OTHER_ID, body=Body(text="네!"), reply_to=_ID, mentions=["bada"]),
            "attachment": Send(
                id=_OTHER_ID, body=Body(attachment=Attachment(url="https://files.example/1", content_type="image/webp"))
            ),
            "data": Send(id=_OTHER_ID, body=Body(data={"celsius": 21.5})),
            "expiring": Send(id=_OTHER_ID, body=Body(text="한 시간 뒤에 사라져요"), expires_in=3600),
            "edit": Send(id=_OTHER_ID, type="edit", target=_ID, body=Body(text="안녕하세요, 하늘 님")),
            "delete": Send(id=_OTHER_ID, type="delete", target=_ID),
            "hide": Send(id=_OTHER_ID, type="hide", target=_ID),
            "reaction": Send(id=_OTHER_ID, type="reaction", target=_ID, body=Body(emoji="👍🏽")),
            "unreact": Send(id=_OTHER_ID, type="unreact", target=_ID, body=Body(emoji="👍🏽")),
            "forward": Send(id=_OTHER_ID, type="forward", target=_ID),
            "pin": Send(id=_OTHER_ID, type="pin", target=_ID),
            "unpin": Send(id=_OTHER_ID, type="unpin", target=_ID),
        },
    ),
    "Event": (
        "A stored event",
        Event,
        {
            "message": _EVENT,
            "reading": replace(
                _EVENT,
                id=_OTHER_ID,
                seq=8,
                n=7,
                sender="dev-livingroom",
                body=Body(data="21.5", content_type="text/plain"),
            ),
            "forwarded": replace(_EVENT, id=_OTHER_ID, forwarded=Forwarded(_ID, "cho", _AT)),
            "system": Event(
                type="system",
                id=_OTHER_ID,
                chat=CHAT,
                seq=9,
                n=7,
                sender="svc-api",
                at=_AT,
                system=System("joined", "haneul", ["cho"], role="member"),
            ),
            "void": Event(type="void", id=_OTHER_ID, chat=CHAT, seq=9, n=7, sender="svc-bridge", at=_AT),
        },
    ),
    "Ack": (
        "How far somebody has received and seen a chat",
        Ack,
        {"seen": Ack(seen=7), "both": Ack(delivered=8, seen=7)},
    ),
    "ReceiptUpdate": (
        "Watermarks that have moved",
        ReceiptUpdate,
        {
            "named": ReceiptUpdate(chat=CHAT, at=_AT, marks=[Mark(user="haneul", delivered=8, seen=7)]),
            "counted": ReceiptUpdate(chat=CHAT, at=_AT, seq=8, delivered=240, seen=112),
        },
    ),
    "Reject": (
        "A message that was refused",
        Reject,
        {"not_json": Reject(code="not_json", reason="the payload is not JSON: DecodeError", chat=CHAT)},
    ),
    "Invitation": (
        "The user is a member of a chat now",
        Invitation,
        {"group": Invitation(chat=CHAT, kind="group", by="haneul", title="주말 등산")},
    ),
    "Announcement": (
        "Administrators tell everybody",
        Announcement,
        {"maintenance": Announcement(id=_ID, text="오늘 밤 02시부터 점검합니다", at=_AT)},
    ),
    "SyncRequest": ("What did I miss?", SyncRequest, {"two_chats": SyncRequest(cursors={CHAT: 6, "g-1": 0}, req="1")}),
    "SyncPage": (
        "What was missed of one chat",
        SyncPage,
        {"page": SyncPage(chat=CHAT, events=[_EVENT], next=7, limited=False, last=7, req="1")},
    ),
    "Reset": (
        "A cursor that can't be used",
        Reset,
        {"unknown": Reset(chat="g-1", reason="unknown_chat", req="1")},
    ),
    "SyncDone": ("Every cursor of a request has its first answer", SyncDone, {"done": SyncDone(req="1")}),
    "Delivered": (
        "What subscribers have acknowledged",
        Delivered,
        {"two": Delivered(marks=[DeliveredMark(CHAT, "haneul", 8), DeliveredMark(CHAT, "bada", 7)])},
    ),
    "Connection": (
        "A client came or went",
        Connection,
        {"phone": Connection(principal="haneul", client_id="haneul:phone", online=1, at=_AT)},
    ),
}

# Message name -> (summary, content type, schema, examples): what is no struct.
OTHERS: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "Plain": (
        "Bytes as they are: a text, a reading. The message id comes from the broker's ingest id",
        "text/plain",
        {"type": "string", "description": "Any bytes. What is not UTF-8 is stored as base64."},
        {"reading": "21.5"},
    ),
    "Typing": (
        "Somebody is typing. The topic says who; what the payload says is theirs",
        "application/json",
        {"type": "object"},
        {"typing": {}},
    ),
    "PresenceState": (
        "Whether a user is connected, and since when",
        "application/json",
        {
            "type": "object",
            "required": ["online", "at"],
            "properties": {"online": {"type": "boolean"}, "at": {"type": "string", "format": "date-time"}},
        },
        {"online": {"online": True, "at": "2026-05-04T03:12:01.123000Z"}},
    ),
}
