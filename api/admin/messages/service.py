"""Moderation of messages: any message of any chat is deleted for everyone, through the whole path, as every event."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

import structlog

from api.admin.access import Staff
from api.admin.messages.schemas import Moderated
from api.messages.refusals import refusal
from chat import topics
from chat.envelopes import Send, encode
from chat.errors import InvalidId, NotFound, PabalError, Unavailable
from chat.ids import check_message_id, message_id_from_ingest
from chat.ports import Link, MessageStore

PRINCIPAL = "svc-api"
"""Who deletes, as far as the chat is told; who really did stands in the audit log."""

_log = structlog.get_logger("admin")


@dataclass(frozen=True, slots=True)
class MessageAdmin:
    """The decisions of `/v1/admin/messages`.

    Attributes:
        send_timeout: seconds that a deletion waits until it is stored.
    """

    messages: MessageStore
    link: Link
    send_timeout: float

    async def delete(self, message: str, reason: str, *, staff: Staff) -> Moderated:
        """Delete a message for everyone. Its event has an id of its own that follows from the message's: twice is as once (P4).

        Raises:
            NotFound: `unknown_message`.
            Unavailable: nothing is known; deleting it again is safe.
        """
        id_ = _canonical(message)
        target = (await self.messages.by_ids([id_])).get(id_)
        if target is None or target.type != "message":
            raise unknown_message()
        await staff.trail.record(
            "message.deleted", target=id_, reason=reason, chat=target.chat, sender=target.sender, seq=str(target.seq)
        )
        send = Send(id=message_id_from_ingest(f"moderation of {id_}"), type="delete", target=id_)
        try:
            await self._publish(target.chat, send)
            stored = (await self.messages.by_ids([send.id])).get(send.id)
            if stored is None:
                raise Unavailable("the deletion was not confirmed; ask for it again")
        except PabalError as error:
            await staff.trail.failed("message.deleted", error, target=id_)
            raise
        _log.warning("message.moderated", id=id_, chat=target.chat, by=staff.id)
        return Moderated(message=id_, chat=stored.chat, seq=stored.seq)

    async def _publish(self, chat: str, send: Send) -> None:
        topic = topics.send(chat, PRINCIPAL)
        try:
            async with asyncio.timeout(self.send_timeout):
                answer = await self.link.publish(topic, encode(send), content_type=topics.JSON_CONTENT_TYPE)
        except TimeoutError:
            raise Unavailable("the deletion was not confirmed in time; ask for it again") from None
        refused = refusal(answer)
        if refused is not None:
            raise refused


def unknown_message() -> NotFound:
    """There is no message of that id: an edit or reaction is none."""
    return NotFound("there is no such message", code="unknown_message")


def _canonical(message: str) -> str:
    try:
        return check_message_id(message)
    except InvalidId:
        raise unknown_message() from None
