"""`ChatClient`: chat over MQTT, in order, without repeats and without holes."""

from __future__ import annotations

import logging
import os
import ssl
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future, wait
from typing import Any, Literal, Self

from chat import topics
from chat.envelopes import Body, Event, ReceiptUpdate, Send, Type
from chat.ids import check_message_id, new_message_id
from clients.python.composing import compose
from clients.python.dispatch import Call, Dispatcher
from clients.python.errors import (
    Closed,
    ConnectRefused,
    ConnectTimeout,
    JoinRefused,
    JoinTimeout,
    SendTimeout,
)
from clients.python.joining import caught_up, subscribe
from clients.python.outbox import Sent, Slowed
from clients.python.reading import Inbox, Presence, Typing
from clients.python.session import CALLBACKS, Arrived, Connection, Limits, Notice, Session
from clients.python.timeline import Restart
from clients.python.wire import WireSettings

_log = logging.getLogger("pabal.client")


class ChatClient:
    """One user's connection, as one instance (a phone, a browser tab).

    It connects again by itself (backoff with jitter, a fresh token), subscribes again when the broker has forgotten the session, asks
    for what it missed, and sends again, with the same ids, what was not acknowledged. Safe to use from several threads.

    Args:
        host, port: of the broker.
        user: the handle.
        token: an access token, or a callable that yields a valid one (called on the network thread before each try to connect).
        client_id: `{user}` or `{user}:{instance}`; random when omitted. A stable one is needed for the broker to keep the
            session over a restart of the app.
        protocol: 5, or 4 for MQTT 3.1.1.
        clean: begin without what the broker kept for this client id.
        session_expiry: seconds that the broker keeps the session while this client is away (MQTT 5; 3.1.1 has no such word).
        keepalive: seconds.
        transport: "tcp", or "websockets" (path /mqtt).
        tls: a context, for TLS.
        limits: what bounds the memory.

    Attributes:
        on_event: called with each event, instead of `events`/`next_event`.
        on_receipt: called with each `ReceiptUpdate`: members' watermarks that moved.
        on_inbox: called with each `Reject`, `Invitation`, `Announcement` and `SyncDone`.
        on_typing: called with each `Typing`; set it before `connect`.
        on_presence: called with each `Presence` of those that are watched.
        on_reset: called with a `Restart` when a cursor could not be used: read the chat's history anew. Without it a warning is logged.
        on_connection: called with a `Connection` whenever it comes or goes.
        on_slow: called with a `Slowed` when the server finds that too much is sent. Without it a warning is logged.

    Callbacks run one after the other on a thread of the client's own, where they may block and may call the client.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        user: str,
        token: str | Callable[[], str],
        client_id: str | None = None,
        protocol: Literal[4, 5] = 5,
        clean: bool = False,
        session_expiry: int = 86_400,
        keepalive: int = 30,
        transport: Literal["tcp", "websockets"] = "tcp",
        tls: ssl.SSLContext | None = None,
        limits: Limits | None = None,
    ) -> None:
        limits = limits or Limits()
        self.user = user
        self.client_id = client_id or f"{user}:{os.urandom(6).hex()}"
        self.on_event: Callable[[Event], None] | None = None
        self.on_receipt: Callable[[ReceiptUpdate], None] | None = None
        self.on_inbox: Callable[[Inbox], None] | None = None
        self.on_typing: Callable[[Typing], None] | None = None
        self.on_presence: Callable[[Presence], None] | None = None
        self.on_reset: Callable[[Restart], None] | None = None
        self.on_connection: Callable[[Connection], None] | None = None
        self.on_slow: Callable[[Slowed], None] | None = None
        settings = WireSettings(
            host=host,
            port=port,
            username=user,
            password=token,
            client_id=self.client_id,
            protocol=protocol,
            clean=clean,
            session_expiry=session_expiry,
            keepalive=keepalive,
            window=limits.window,
            transport=transport,
            tls=tls,
        )
        self._session = Session(settings, limits, self._notice)
        self._dispatcher = Dispatcher(f"pabal-calls-{self.client_id}", pull=self._pull, limit=limits.notices)
        self._message_bytes = limits.message_bytes
        self._started = False

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def connected(self) -> bool:
        """Whether the connection and its subscriptions stand now."""
        return self._session.ready

    @property
    def unsent(self) -> list[str]:
        """Ids of the messages in the outbox, in order."""
        with self._session.changed:
            return self._session.outbox.ids

    def connect(self, timeout: float = 10.0) -> None:
        """Connect and subscribe to the inbox; from then on the client stays connected by itself.

        Raises:
            ConnectRefused: the broker said no. The client is closed.
            ConnectTimeout: no connection within `timeout` seconds. The client is closed.
            Closed: it was closed before.
        """
        session = self._session
        session.with_typing = self.on_typing is not None
        if not self._started:
            self._started = True
            self._dispatcher.start()
            session.start()
        with session.changed:
            session.changed.wait_for(lambda: session.ready or session.ended or session.denied, timeout)
            if session.ready:
                return
            ended, denied = session.ended, session.denied
        self.close()
        if ended is not None:
            raise ended
        if denied is not None:
            raise ConnectRefused(denied.code or denied.name, denied.reason)
        raise ConnectTimeout(f"no connection within {timeout:g} s")

    def close(self) -> None:
        """Disconnect and end. Messages that were not acknowledged fail with `Closed`."""
        self._session.stop()
        self._dispatcher.stop()

    def join(self, chat: str, *, cursor: int | None = None, timeout: float = 10.0) -> None:
        """Subscribe to a chat's events and receipts, and catch up with it.

        Args:
            chat: its id.
            cursor: the last `seq` that the app has of it: what came after is delivered first. 0 delivers everything. None delivers
                what is sent from now on (or, if the chat was joined before, goes on where it was).
            timeout: seconds for all of it.

        Raises:
            JoinRefused: the broker refuses the subscription, or the chat is unknown to this user.
            JoinTimeout: not done in time. If it is subscribed already, it stays so and goes on catching up.
            Closed, ConnectRefused: the client has ended.
        """
        session, deadline = self._session, time.monotonic() + timeout
        with session.changed:
            known = chat in session.timelines
            if not known or cursor is not None:
                session.timelines.add(chat, cursor)
        try:
            subscribe(session, chat, session.filters(chat), deadline)
        except JoinRefused:
            session.forget(chat)
            raise
        except JoinTimeout:
            if not known:
                session.forget(chat)
            raise
        with session.changed:
            session.timelines.live([chat])
            session.changed.notify_all()
        caught_up(session, [chat], deadline)

    def leave(self, chat: str) -> None:
        """Unsubscribe from a chat and forget what is held of it. (Membership is the API's business.)"""
        self._session.forget(chat)

    def send(
        self,
        chat: str,
        *,
        text: str | None = None,
        body: Body | None = None,
        id: str | None = None,  # noqa: A002  # the contract's own word for it
        timeout: float = 10.0,
        **more: Any,
    ) -> Sent:
        """Send a message and wait until it is stored (promise P1: the broker's PUBACK).

        Args:
            chat: where to.
            text: what it says; or
            body: any other body.
            id: its id, a UUID; a new UUIDv7 when omitted. Sending an id again stores nothing new (P4).
            timeout: seconds to wait.
            more: `type`, `target`, `reply_to`, `mentions`, `expires_in`: see `chat.envelopes.Send`. An `edit`, `delete` (for everyone),
                `hide` (for this user), `reaction`, `unreact`, `pin` or `unpin` names its `target` in the chat, a `forward` one of any chat.

        Raises:
            SendRefused: it will never be stored as it is.
            SendTimeout: no answer yet; it stays in the outbox. Calling again with the same id goes on waiting for it.
            OutboxFull: too many wait already.
            InvalidId: `id` is no UUID.
            Closed, ConnectRefused: the client has ended.
        """
        message_id = check_message_id(id) if id else new_message_id()
        future = self.send_nowait(chat, text=text, body=body, id=message_id, **more)
        if not wait([future], timeout).done:
            raise SendTimeout(message_id)
        return future.result()

    def send_nowait(
        self,
        chat: str,
        *,
        text: str | None = None,
        body: Body | None = None,
        id: str | None = None,  # noqa: A002
        type: Type = "message",  # noqa: A002
        target: str | None = None,
        reply_to: str | None = None,
        mentions: Iterable[str] = (),
        expires_in: int | None = None,
    ) -> Future[Sent]:
        """Queue a message; see `send` (a message of the wrong shape or size is refused here, not by the future).

        The future's own callbacks run on the network thread: they must not block.
        """
        send = Send(
            id=check_message_id(id) if id else new_message_id(),
            type=type,
            body=Body(text=text) if text is not None else body,
            target=target,
            reply_to=reply_to,
            mentions=list(mentions),
            expires_in=expires_in,
        )
        session, payload = self._session, compose(send, max_bytes=self._message_bytes)
        with session.changed:
            if session.ended is not None:
                raise session.ended
            entry = session.outbox.add(send.id, chat, payload)
            session.changed.notify_all()
        return entry.stored

    def watch(self, user: str, *, timeout: float = 10.0) -> None:
        """Be told by `on_presence` whether somebody who shares a chat with this user is connected: now, and whenever it changes.

        Raises:
            JoinRefused: they share no chat.
            JoinTimeout: not done in time.
        """
        subscribe(self._session, user, {topics.presence(user): 0}, time.monotonic() + timeout)
        with self._session.changed:
            self._session.watched.add(user)

    def unwatch(self, user: str) -> None:
        """End `watch`."""
        with self._session.changed:
            self._session.watched.discard(user)
        self._session.wire.unsubscribe([topics.presence(user)])

    def seen(self, chat: str, seq: int) -> None:
        """Tell the chat that this user has seen everything up to `seq`. Returns at once; coalesced, and kept over reconnects."""
        self._raise(chat, seen=seq)

    def delivered(self, chat: str, seq: int) -> None:
        """Tell the chat that all up to `seq` was received. Seldom needed: broker and client tell it by themselves."""
        self._raise(chat, delivered=seq)

    def typing(self, chat: str) -> None:
        """Tell the chat that this user is typing (QoS 0: lost when there is no connection)."""
        self._session.wire.publish_unacknowledged(topics.typing(chat, self.user), b"{}")

    def sync(self, cursors: Mapping[str, int] | None = None, *, timeout: float = 10.0) -> None:
        """Ask for what was missed, and wait until it is here (or as much of it as `limits.hold` takes).

        Happens by itself after each reconnect and each gap.

        Args:
            cursors: joined chats to start anew behind a `seq`; None asks for all joined chats from where they are.
            timeout: seconds.

        Raises:
            ValueError: a chat is not joined.
            JoinRefused: a chat is unknown to this user by now.
            JoinTimeout: not everything came in time; the client goes on asking.
        """
        session, deadline = self._session, time.monotonic() + timeout
        with session.changed:
            chats = list(session.timelines if cursors is None else cursors)
            strange = [chat for chat in chats if chat not in session.timelines]
            if strange:
                raise ValueError(f"not joined: {', '.join(strange)}")
            for chat, cursor in (cursors or {}).items():
                session.timelines.add(chat, cursor)
            if session.ready:
                session.timelines.live(chats)
            session.changed.notify_all()
        caught_up(session, chats, deadline)

    def cursor(self, chat: str) -> int:
        """The last `seq` that the app was handed: what to keep, and to give to `join` after a restart. 0 for nothing."""
        with self._session.changed:
            return self._session.timelines.cursor(chat)

    def events(self, timeout: float | None = None) -> Iterator[Event]:
        """Events of all joined chats, each chat in order of `seq` without repeats and holes (`void` events included).

        Args:
            timeout: end when none came for so many seconds; None goes on until the client ends.

        Raises:
            ConnectRefused: the broker has ended the connection for good.
        """
        while (event := self.next_event(timeout)) is not None:
            yield event

    def next_event(self, timeout: float | None = None) -> Event | None:
        """The next event; None when none came within `timeout` seconds, or the client was closed. See `events`."""
        if self.on_event is not None:
            raise RuntimeError("events go to on_event")
        session = self._session
        deadline = None if timeout is None else time.monotonic() + timeout
        with session.changed:
            while (event := self._take()) is None:
                if session.ended is not None:
                    if isinstance(session.ended, Closed):
                        return None
                    raise session.ended
                left = None if deadline is None else deadline - time.monotonic()
                if left is not None and left <= 0:
                    return None
                session.changed.wait(left)
            return event

    def _take(self) -> Event | None:
        event = self._session.timelines.take()
        if event is not None and self._session.timelines.due() is not None:
            self._session.changed.notify_all()  # there is room again for what a sync may bring
        return event

    def _raise(self, chat: str, *, delivered: int = 0, seen: int = 0) -> None:
        with self._session.changed:
            self._session.watermarks.want(chat, delivered=delivered, seen=seen)
            self._session.changed.notify_all()

    def _pull(self) -> Call | None:
        """For the dispatcher: the next event, when the app wants events called."""
        callback = self.on_event
        if callback is None:
            return None
        with self._session.changed:
            event = self._take()
        return None if event is None else (callback, event)

    def _notice(self, notice: Notice) -> None:
        """On the network thread: hand it to the dispatcher."""
        if isinstance(notice, Arrived):
            self._dispatcher.wake()
            return
        callback: Callable[[Any], None] | None = getattr(self, CALLBACKS.get(type(notice), "on_inbox"))
        if callback is not None:
            self._dispatcher.put(callback, notice)
        elif isinstance(notice, Restart):
            _log.warning("chat.reset", extra={"chat": notice.chat, "reason": notice.reason})
        elif isinstance(notice, Slowed):
            _log.warning("chat.slow", extra={"chat": notice.chat, "wait": notice.wait, "code": notice.code})
