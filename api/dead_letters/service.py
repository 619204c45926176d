"""Dead letters: looked at, sent again, thrown away (P9)."""

from __future__ import annotations

import asyncio
import base64
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import structlog

from api.admin.access import Staff
from api.clock import now
from api.dead_letters.pushes import push_again, pushed_message
from api.dead_letters.schemas import LetterDetail, LetterPage, LetterQuery, LetterView, Replayed
from api.messages.refusals import refusal
from api.pagination import pack, unpack
from chat import topics
from chat.envelopes import MAX_SEND_BYTES, Send, encode, read_send, wrap_plain
from chat.errors import Conflict, NotFound, PabalError, Unavailable
from chat.jobs import PUSH_EVENT, QUEUE_OF
from chat.models import DeadLetter, LetterEvent
from chat.plain import is_plain
from chat.ports import INGEST, DeadLetterStore, JobQueue, Link, MessageStore
from chat.topics import Topic

_log = structlog.get_logger("dead_letters")


@dataclass(frozen=True, slots=True)
class DeadLetterService:
    """The decisions of `/v1/admin/dead-letters`.

    Attributes:
        send_timeout: seconds that a replay waits for its PUBACK.
    """

    letters: DeadLetterStore
    messages: MessageStore
    link: Link
    jobs: JobQueue
    send_timeout: float

    async def page(self, query: LetterQuery) -> LetterPage:
        """One page, by id.

        Raises:
            BadInput: `invalid_cursor`.
        """
        after = unpack(query.cursor, 1)[0] if query.cursor else ""
        found = await self.letters.page(after=after, limit=query.limit + 1)
        items = [LetterView(**_facts(letter)) for letter in found[: query.limit]]
        return LetterPage(items=items, next=pack(items[-1].id) if len(found) > query.limit else None)

    async def show(self, letter_id: str, *, staff: Staff) -> LetterDetail:
        """One letter with its payload: who reads what somebody wrote leaves a record.

        Raises:
            NotFound: `unknown_dead_letter`.
        """
        letter = await self._get(letter_id)
        await staff.trail.record("dead_letter.read", target=letter_id)
        try:
            payload, encoding = letter.payload.decode(), None
        except UnicodeDecodeError:
            payload, encoding = base64.b64encode(letter.payload).decode(), "base64"
        return LetterDetail(
            **_facts(letter),
            payload=payload,
            encoding=encoding,
            content_type=letter.content_type,
            properties=letter.properties,
        )

    async def replay(self, letter_id: str, reason: str, *, staff: Staff) -> Replayed:
        """Send a message through the whole path again as its sender, and drop the letter once it is stored; of a push, mark its message anew;
        send a job again.

        A message has the id that it had: replayed twice, or after its sender has sent it again, it is stored once (P4). A job bears
        being done twice; one that fails again is the same letter again.

        Raises:
            NotFound: `unknown_dead_letter`; of a push, `unknown_message`.
            Conflict: `not_replayable`: it is neither a message nor a push nor a job.
            PabalError: refused again; it stays where it is.
            Unavailable: nothing is known; replaying it again is safe.
        """
        letter = await self._get(letter_id)
        pushed = pushed_message(letter)
        if pushed is not None:
            return await self._push_again(letter, pushed, reason, staff)
        if letter.job in QUEUE_OF:
            return await self._send_job(letter, letter.job, reason, staff=staff)
        topic = _send_topic(letter)
        if topic is None:
            raise Conflict("this letter is neither a message nor a job: it can only be dropped", code="not_replayable")
        send = _message(letter, topic)
        await staff.trail.record("dead_letter.replayed", target=letter.id, reason=reason)
        await self.letters.note(letter.id, LetterEvent(now(), "replayed", by=staff.id))
        try:
            await self._publish(letter.topic, send)
        except PabalError as error:
            await self.letters.note(letter.id, LetterEvent(now(), "refused", error.code, staff.id))
            await staff.trail.failed("dead_letter.replayed", error, target=letter.id)
            _log.warning("dead_letter.refused_again", id=letter.id, code=error.code, by=staff.id)
            raise
        stored = (await self.messages.by_ids([send.id])).get(send.id)
        if stored is None:
            raise Unavailable("the message was not confirmed; replay it again")
        await self.letters.drop(letter.id)
        _log.info("dead_letter.replayed", id=letter.id, chat=stored.chat, seq=stored.seq, by=staff.id)
        return Replayed(id=letter.id, message=stored.id, chat=stored.chat, seq=stored.seq)

    async def _push_again(self, letter: DeadLetter, message_id: str, reason: str, staff: Staff) -> Replayed:
        await staff.trail.record("dead_letter.replayed", target=letter.id, reason=reason)
        await self.letters.note(letter.id, LetterEvent(now(), "replayed", by=staff.id))
        event = await push_again(self.messages, message_id)
        await self.letters.drop(letter.id)
        await self.messages.push_again(
            message_id, now()
        )  # a job that saw the letter just before may have taken the mark off
        with suppress(Unavailable):  # the sweeper finds it
            await self.jobs.submit(PUSH_EVENT, message_id, queue=QUEUE_OF[PUSH_EVENT])
        _log.info("dead_letter.replayed", id=letter.id, chat=event.chat, seq=event.seq, by=staff.id)
        return Replayed(id=letter.id, message=event.id, chat=event.chat, seq=event.seq)

    async def _send_job(self, letter: DeadLetter, job: str, reason: str, *, staff: Staff) -> Replayed:
        """Pushes get their marks back first: these, and not the queue, are what makes them certain."""
        await staff.trail.record("dead_letter.replayed", target=letter.id, reason=reason)
        await self.letters.note(letter.id, LetterEvent(now(), "replayed", by=staff.id))
        if job == PUSH_EVENT and not any(
            [await self.messages.push_again(message_id, now()) for message_id in letter.args]
        ):
            raise Conflict("the messages of these pushes are not there any more", code="not_replayable")
        await self.jobs.submit(job, *letter.args, queue=QUEUE_OF[job])
        kept = await self.letters.get(letter.id)
        if kept is not None and kept.at == letter.at:  # else it has failed again already, and this is its letter
            await self.letters.drop(letter.id)
        _log.info("dead_letter.replayed", id=letter.id, job=job, by=staff.id)
        return Replayed(id=letter.id, job=job)

    async def drop(self, letter_id: str, reason: str, *, staff: Staff) -> None:
        """Throw it away for good.

        Raises:
            NotFound: `unknown_dead_letter`.
        """
        await self._get(letter_id)
        await staff.trail.record("dead_letter.dropped", target=letter_id, reason=reason)
        if not await self.letters.drop(letter_id):
            raise _unknown()
        _log.warning("dead_letter.dropped", id=letter_id, by=staff.id)

    async def _get(self, letter_id: str) -> DeadLetter:
        letter = await self.letters.get(letter_id)
        if letter is None:
            raise _unknown()
        return letter

    async def _publish(self, topic: str, send: Send) -> None:
        try:
            async with asyncio.timeout(self.send_timeout):
                answer = await self.link.publish(topic, encode(send), content_type=topics.JSON_CONTENT_TYPE)
        except TimeoutError:
            raise Unavailable("the message was not confirmed in time; replay it again") from None
        refused = refusal(answer)
        if refused is not None:
            raise refused


def _facts(letter: DeadLetter) -> dict[str, Any]:
    topic = _send_topic(letter)
    return {
        "id": letter.id,
        "topic": letter.topic,
        "chat": topic.scope if topic else None,
        "sender": topic.user if topic else None,
        "reason": letter.reason,
        "tries": letter.tries,
        "at": letter.at,
        "size": len(letter.payload),
        "replayable": topic is not None or pushed_message(letter) is not None or letter.job in QUEUE_OF,
        "history": letter.history,
        "kind": letter.kind,
        "job": letter.job,
        "args": letter.args,
    }


def _send_topic(letter: DeadLetter) -> Topic | None:
    topic = topics.parse(letter.topic)
    return topic if topic is not None and topic.kind is topics.Kind.SEND else None


def _message(letter: DeadLetter, topic: Topic) -> Send:
    """What the letter says, as an envelope: so a plain payload keeps the id that it had the first time.

    Raises:
        BadInput: it can't be read, or plain bytes are too large as an envelope.
    """
    if is_plain(topic.user or "", letter.payload, letter.content_type) and INGEST in letter.properties:
        return wrap_plain(letter.payload, ingest_id=letter.properties[INGEST], content_type=letter.content_type)
    return read_send(letter.payload, max_bytes=MAX_SEND_BYTES)


def _unknown() -> NotFound:
    return NotFound("there is no such dead letter (any more)", code="unknown_dead_letter")
