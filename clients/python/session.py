"""Everything behind `ChatClient`: what is known, under one condition, and the thread that publishes.

Threads: paho's calls `up`, `down`, `message` and the answers; the *pump* is the only one that publishes, so that order is kept and
paho's locks are never taken while ours is held. What decides stands in the pure modules: `timelines`, `outbox`, `watermarks`.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from chat import topics
from chat.envelopes import MAX_SEND_BYTES, Ack, Event, ReceiptUpdate, Reject, Reset, SyncPage, SyncRequest, encode
from chat.errors import InvalidEnvelope
from clients.python.errors import ClientError, Closed, ConnectRefused, SendRefused
from clients.python.outbox import Entry, Outbox, Slowed
from clients.python.pacing import backoff
from clients.python.reading import Inbox, Presence, Typing, read
from clients.python.timeline import Restart
from clients.python.timelines import Timelines
from clients.python.watermarks import OwnWatermarks
from clients.python.wire import DENIED, Answer, Wire, WireSettings

_log = logging.getLogger("pabal.client")

TRANSIENT = frozenset({0x80, 0x97})
"""PUBACK reason codes that say nothing against the message: unspecified error, quota exceeded (no bridge, too fast)."""

FILTERS_PER_SUBSCRIBE = 200
"""Keeps one SUBSCRIBE far below any packet limit."""

SUBACK_SECONDS = 10.0
"""How long the pump waits for a SUBACK before it asks again."""

JSON = "application/json"
TOO_FAST = frozenset({"rate_limited", "chat_rate_limited"})
"""Codes of messages that will be taken later."""

ENVELOPE_BYTES = 256
"""More than what a PUBLISH adds to its topic and payload here."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What bounds the SDK's memory.

    Attributes:
        outbox: messages that wait for their acknowledgement.
        hold: events per chat that are ready or wait for a gap.
        page: events per sync page.
        window: publishes under way at once.
        message_bytes: the largest envelope that is sent; the server's own bound, unless it is set otherwise there.
        notices: receipts and other notices that wait for slow callbacks; the oldest are dropped.
    """

    outbox: int = 1000
    hold: int = 500
    page: int = 100
    window: int = 20
    message_bytes: int = MAX_SEND_BYTES
    notices: int = 1000


@dataclass(frozen=True, slots=True)
class Connection:
    """The connection came or went.

    Attributes:
        up: whether it is there now.
        code: why it went: the reason code's name in lower case.
        final: the SDK will not try again by itself.
    """

    up: bool
    code: str = "success"
    final: bool = False


@dataclass(frozen=True, slots=True)
class Arrived:
    """Events can be taken."""


Notice = ReceiptUpdate | Inbox | Typing | Presence | Restart | Connection | Arrived | Slowed
CALLBACKS: dict[type, str] = {
    ReceiptUpdate: "on_receipt",
    Typing: "on_typing",
    Presence: "on_presence",
    Restart: "on_reset",
    Connection: "on_connection",
    Slowed: "on_slow",
}
"""Which attribute of the client is told what; everything else goes to `on_inbox`."""

Job = Callable[[], None]


class Session:
    """See the module. Public attributes are guarded by `changed`."""

    def __init__(self, settings: WireSettings, limits: Limits, notify: Callable[[Notice], None]) -> None:
        self.changed = threading.Condition()
        self.ready = False
        """Connected, and every subscription stands."""
        self.ended: ClientError | None = None
        """Why nothing will happen any more."""
        self.denied: Answer | None = None
        """The newest refusal to let us in; None once connected."""
        self.with_typing = False
        self.timelines = Timelines(hold=limits.hold, page=limits.page)
        self.outbox = Outbox(limits.outbox)
        self.watermarks = OwnWatermarks()
        self.watched: set[str] = set()
        """Users whose presence is subscribed to."""
        self.malformed = 0
        self.wire = Wire(settings, self)
        self._user = settings.username
        self._protocol = settings.protocol
        self._notify = notify
        self._connected = False
        self._ever_ready = False
        self._generation = 0  # of the connection
        self._resubscribe_at = 0.0
        self._tries = 0
        self._refused: set[str] = set()
        self._requests: deque[SyncRequest] = deque()  # at most one per 500 chats and kind, made anew only when empty
        self._thread = threading.Thread(target=self._pump, name=f"pabal-pump-{settings.client_id}", daemon=True)

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()
        self.wire.start()

    def stop(self) -> None:
        """End: whoever waits is told `Closed`."""
        self._end(Closed("the client was closed"))
        self.wire.stop()
        if self._thread.is_alive() and threading.current_thread() is not self._thread:
            self._thread.join()

    def filters(self, chat: str) -> dict[str, int]:
        """What a member subscribes to, with QoS."""
        wanted = {topics.messages(chat): 1, topics.receipts(chat): 1}
        if self.with_typing:
            wanted[topics.typing(chat)] = 0
        return wanted

    # What paho's thread calls

    def up(self, *, session_present: bool) -> None:
        """The connection stands; subscriptions may be gone."""
        with self.changed:
            self._connected = True
            self._generation += 1
            self.denied = None
            self._resubscribe_at = 0.0
            if session_present and self._ever_ready:
                self.ready = True
                self.timelines.live(set(self.timelines) - self._refused)
            self.changed.notify_all()
        self._notify(Connection(up=True))

    def down(self, answer: Answer, *, final: bool) -> None:
        """The connection went, or was refused."""
        with self.changed:
            self._connected = self.ready = False
            self._requests.clear()
            self.timelines.away()
            if answer.reason_code in DENIED:
                self.denied = answer
            self.changed.notify_all()
        if final:
            self._end(ConnectRefused(answer.code or answer.name, answer.reason))
        self._notify(Connection(up=False, code=answer.name, final=final))

    def message(self, topic: str, payload: bytes) -> None:
        """Something came in."""
        try:
            incoming = read(topic, payload)
        except InvalidEnvelope as error:
            self.malformed += 1
            _log.warning("message.malformed", extra={"topic": topic, "reason": error.reason})
            return
        notice: Notice | None = None
        match incoming:
            case Event() | SyncPage() | Reset():
                notice = self._take_in(incoming)
            case Reject(id=str(message_id), code=code) if self._protocol == 4 and code in TOO_FAST:
                self._slow(message_id, code, rejected=True)
                return
            case Reject(id=str(message_id)) if self._protocol == 4:
                # 3.1.1 has no negative PUBACK; with MQTT 5 the PUBACK says it, and more exactly.
                self._finish(message_id, SendRefused(message_id, incoming.code, incoming.reason))
                notice = incoming
            case None:
                return
            case _:
                notice = incoming
        if notice is not None:
            self._notify(notice)

    def _take_in(self, incoming: Event | SyncPage | Reset) -> Notice | None:
        with self.changed:
            restart: Restart | None = None
            match incoming:
                case Event():
                    self.timelines.put(incoming)
                case SyncPage():
                    restart = self.timelines.page(incoming, time.monotonic())
                    if incoming.events and incoming.chat in self.timelines:
                        # The broker makes receipts of live events only; what came by sync is told here.
                        self.watermarks.want(incoming.chat, delivered=self.timelines.whole(incoming.chat))
                case Reset():
                    restart = self.timelines.reset(incoming)
                    if incoming.chat not in self.timelines:
                        self._forget(incoming.chat)
            self.changed.notify_all()
        return restart or Arrived()

    def _send_answered(self, message_id: str, answer: Answer) -> None:
        if answer.ok:
            with self.changed:
                rejected = self.outbox.was_rejected(message_id)
            if not rejected:
                self._finish(message_id, None)
        elif answer.code in TOO_FAST:
            self._slow(message_id, answer.code)
        elif answer.reason_code in TRANSIENT:
            with self.changed:
                self.outbox.again(message_id, time.monotonic())
                self.changed.notify_all()
        else:
            code = answer.code or answer.name
            error = SendRefused(message_id, code, answer.reason, reason_code=answer.reason_code)
            self._finish(message_id, error)

    def _slow(self, message_id: str, code: str, *, rejected: bool = False) -> None:
        with self.changed:
            slowed = self.outbox.slow(message_id, code, time.monotonic(), rejected=rejected)
            self.changed.notify_all()
        if slowed is not None:
            self._notify(slowed)

    def _ack_answered(self, chat: str, answer: Answer) -> None:
        with self.changed:
            if answer.reason_code in TRANSIENT:
                self.watermarks.again(chat, time.monotonic())
            else:
                self.watermarks.done(chat)
            self.changed.notify_all()

    def _sync_answered(self, _answer: Answer) -> None:
        """Only makes room: a request that was refused or lost is asked anew by its timelines."""
        with self.changed:
            self.changed.notify_all()

    def _finish(self, message_id: str, error: ClientError | None) -> None:
        with self.changed:
            entry = self.outbox.pop(message_id)
            self.changed.notify_all()
        if entry is not None:
            entry.complete(error)

    def _end(self, error: ClientError) -> None:
        with self.changed:
            if self.ended is None:
                self.ended = error
            self.ready = False
            entries = [entry for id_ in self.outbox.ids if (entry := self.outbox.pop(id_))]
            self.changed.notify_all()
        for entry in entries:
            entry.complete(error)

    # The pump

    def _pump(self) -> None:
        while True:
            with self.changed:
                if self.ended is not None:
                    return
                now = time.monotonic()
                job = self._next_job(now)
                if job is None:
                    self.changed.wait(self._idle_for(now))
                    continue
            job()

    def _next_job(self, now: float) -> Job | None:
        if not self._connected:
            return None
        if (not self.ready or self._refused) and now >= self._resubscribe_at:
            return partial(self._subscribe, self._generation, everything=not self.ready)
        if not self.ready or self.wire.room == 0:
            return None
        if (entry := self.outbox.next(now)) is not None:
            return partial(self._publish_send, entry)
        if (told := self.watermarks.next(now)) is not None:
            return partial(self._publish_ack, *told)
        if not self._requests:
            self._requests.extend(self.timelines.requests(now))
        if self._requests:
            return partial(self._publish_sync, self._requests.popleft())
        return None

    def _idle_for(self, now: float) -> float | None:
        """Seconds until the clock alone makes a job; None: only news does."""
        if not self._connected:
            return None
        dues: list[float | None] = []
        if not self.ready or self._refused:
            dues.append(self._resubscribe_at)
        if self.ready and self.wire.room > 0:
            dues += [self.outbox.due(), self.watermarks.due(), self.timelines.due()]
        return min((max(0.0, due - now) for due in dues if due is not None), default=None)

    def _publish_send(self, entry: Entry) -> None:
        topic = topics.send(entry.chat, self._user)
        if 0 < self.wire.max_packet < len(entry.payload) + len(topic) + ENVELOPE_BYTES:
            reason = f"the broker takes packets of at most {self.wire.max_packet} bytes"
            self._finish(entry.id, SendRefused(entry.id, "too_large", reason))
            return
        answered = partial(self._send_answered, entry.id)
        if not self.wire.publish(topic, entry.payload, answered=answered, content_type=JSON):
            with self.changed:
                self.outbox.again(entry.id, time.monotonic())

    def _publish_ack(self, chat: str, ack: Ack) -> None:
        answered = partial(self._ack_answered, chat)
        if not self.wire.publish(topics.ack(chat, self._user), encode(ack), answered=answered, content_type=JSON):
            with self.changed:
                self.watermarks.again(chat, time.monotonic())

    def _publish_sync(self, request: SyncRequest) -> None:
        # Not taken is like lost: the timelines ask again.
        self.wire.publish(topics.sync(self._user), encode(request), answered=self._sync_answered, content_type=JSON)

    def _subscribe(self, generation: int, *, everything: bool) -> None:
        """Subscribe to the inbox and every joined chat (or only to those that were refused), and say which of them stand."""
        with self.changed:
            chats = list(self.timelines if everything else self._refused)
            watched = sorted(self.watched) if everything else []
        wanted = {topics.inbox(self._user): ("", 1)} if everything else {}
        wanted |= {topics.presence(user): (f"@{user}", 0) for user in watched}  # "@" is in no chat id
        wanted |= {filter_: (chat, qos) for chat in chats for filter_, qos in self.filters(chat).items()}
        try:
            refused = self._subscribe_chunks(wanted)
        except (ConnectionError, TimeoutError):
            refused = {""}
        with self.changed:
            if generation != self._generation or not self._connected:
                return
            self._refused = (refused - {""}) & set(self.timelines)
            self._tries = self._tries + 1 if refused else 0
            self._resubscribe_at = time.monotonic() + backoff(self._tries) if refused else 0.0
            if "" not in refused:
                self.ready = self._ever_ready = True
                self.timelines.live(set(chats) - self._refused)
            self.changed.notify_all()

    def _subscribe_chunks(self, wanted: dict[str, tuple[str, int]]) -> set[str]:
        """The chats ("" for the inbox) of which a filter was refused."""
        refused: set[str] = set()
        filters = list(wanted)
        for start in range(0, len(filters), FILTERS_PER_SUBSCRIBE):
            chunk = filters[start : start + FILTERS_PER_SUBSCRIBE]
            answers = self.wire.subscribe({name: wanted[name][1] for name in chunk}).result(SUBACK_SECONDS)
            refused |= {wanted[name][0] for name, answer in zip(chunk, answers, strict=True) if not answer.ok}
        return refused

    def _forget(self, chat: str) -> None:
        self.timelines.remove(chat)
        self.watermarks.forget(chat)
        self._refused.discard(chat)

    def forget(self, chat: str) -> None:
        """The chat was left: unsubscribe, and drop what is held."""
        with self.changed:
            self._forget(chat)
            self.changed.notify_all()
        self.wire.unsubscribe(list(self.filters(chat)))
