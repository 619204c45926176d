"""The broker: who comes in, who goes, what is due. Everything about one client's packets is in `connection.py`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any

import structlog

from broker.admission import Admission
from broker.connect_checks import assigned_client_id, check_will
from broker.connection import Connection, State
from broker.core import Core
from broker.doubts import Doubts, identity_of
from broker.ingest import Ingest
from broker.limits import Limits
from broker.marks import Marks
from broker.policy import Action, Identity, Login, LoginRefused, Policy, Undecided
from broker.presence import PresenceEvents, PresenceSink
from broker.router import Router
from broker.sys_topics import SysTopics
from broker.traced_ingest import TracedIngest
from broker.transport import Transport
from broker.wills import Wills
from chat.tracing import Tracer
from mqtt.codec import V5, encode_within
from mqtt.messages import Message
from mqtt.packets import ConnAck, Connect, Properties
from mqtt.reasons import Reason
from mqtt.session import Session

log = structlog.get_logger("broker")

TICK = 1.0
"""Seconds between looks at keep alives, timers and expired sessions: nothing there needs better."""

SWEEP_BATCH = 1_000
"""Subscriptions per question to the policy: one query of about 100 KB."""


class Broker:
    """One broker.

    Args:
        policy: decides who may what.
        limits: every bound.
        ingest_filters: publishes on these wait for the bridge's PUBACK.
        presence: is told who is connected; None for a broker that tells nobody.
        sys_seconds: how often `$SYS/#` is published.
        tracer: records what becomes of messages; None: nothing is recorded.
        clock: monotonic seconds; the running loop's when omitted.
    """

    def __init__(
        self,
        policy: Policy,
        *,
        limits: Limits,
        ingest_filters: tuple[str, ...] = (),
        presence: PresenceSink | None = None,
        sys_seconds: float = 10.0,
        tracer: Tracer | None = None,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.core = Core(policy, limits, clock or asyncio.get_running_loop().time)
        self.core.stamps = bool(ingest_filters)
        self.router = Router(self.core)
        self.ingest = (
            Ingest(self.core, self.router, ingest_filters)
            if tracer is None
            else TracedIngest(self.core, self.router, ingest_filters, tracer)
        )
        self.marks = Marks(self.core, self.router)
        self.wills = Wills(self.core, self.router, self.ingest, self.spawn)
        self.presence = PresenceEvents(
            self.send, presence, later=self.core.later, clock=self.core.clock, limits=lambda: self.core.limits
        )
        self.sys_topics = SysTopics(self.core, self.router, every=sys_seconds)
        self.admission = Admission(self.core)
        self.doubts = Doubts(self.core, self.router, self._revoke, self.spawn)
        self._tasks: set[asyncio.Task[Any]] = set()
        self._ended: dict[str, float] = {}
        self._server_reference = ""

    # ---- connections

    def connect(self, transport: Transport) -> Connection:
        """A socket was opened."""
        connection = Connection(self, transport)
        if len(self.core.open) > self.core.limits.connections:
            self.core.stats.connects["too_many"] += 1
            connection.close(Reason.SERVER_BUSY)
        return connection

    async def login(self, connection: Connection, connect: Connect) -> None:
        """Let a client in or not. Nothing of an existing session is touched before its owner has proved who they are."""
        if self.core.draining:
            self._send_away(connection)
            return
        try:
            assigned = assigned_client_id(connect, connection.transport.certificate)
            login = Login(
                connect.client_id,
                connect.username,
                connect.password,
                connection.peer,
                connection.transport.certificate,
                connection.transport.tls,
            )
            identity = await self.core.policy.login(login)
            await check_will(self.core, identity, connect.will)
            if connection.alive:
                await self._open(connection, connect, identity, assigned=assigned)
        except LoginRefused as refusal:
            self.refuse(connection, Reason(refusal.reason), refusal.detail)
        except Undecided:
            self.refuse(connection, Reason.SERVER_UNAVAILABLE, "rights can't be checked now: try again")

    async def _open(
        self, connection: Connection, connect: Connect, identity: Identity, *, assigned: str | None
    ) -> None:
        core = self.core
        client_id = connect.client_id
        session = core.sessions.get(client_id)
        if session is not None:
            if not connect.clean_start:
                await self._recheck(session, identity)
            elif session.journal is not None:
                await self._forget(connection, session, identity)
        self._take_over(client_id)
        session = core.sessions.get(client_id)
        if not self._wanted(connection, identity):
            return
        if session is not None and (connect.clean_start or session.principal != identity.id):
            self._drop(session)
            session = None
        resumed = session is not None
        session = session or core.new_session(client_id, identity.id)
        session.expiry = self._expiry(connect)
        session.attach(
            version=connect.version,
            window=self._window(connect, identity),
            max_packet=connect.properties.get("maximum_packet_size", 0),
            aliases=min(connect.properties.get("topic_alias_maximum", 0), core.limits.topic_alias_maximum),
        )
        session.connection = connection
        core.connections[client_id] = connection
        core.persist(session)
        connection.opened_as(identity, session, connect)
        self.wills.made(session, identity, connect.will)
        connection.keep_alive = self._keep_alive(connect)
        connack = ConnAck(resumed, Reason.SUCCESS, self._connack_properties(connect, session, assigned))
        connection.answer(connack)
        core.stats.connects["success"] += 1
        core.regroup(session)
        if session.shared:
            self.ingest.adopt()
        session.resume(core.clock())
        if identity.announce:
            self.presence.connected(identity.id, client_id)
        log.debug("client.connected", client_id=client_id, version=connect.version, resumed=resumed)
        if not encode_within(connack, connect.version, connection.max_packet):
            # It was not sent [MQTT-3.1.2-25], and before it nothing else may be [MQTT-3.2.0-1].
            log.info("client.too_small", client_id=client_id, max_packet=connection.max_packet)
            connection.will = None
            connection.lost()

    def _wanted(self, connection: Connection, identity: Identity) -> bool:
        """Whether the connection is still there after what was waited for.

        Raises:
            LoginRefused: the sign-in is not.
        """
        if connection.opened < max(self._ended.get(identity.id, 0.0), self._ended.get(identity.grant or "", 0.0)):
            raise LoginRefused(Reason.NOT_AUTHORIZED, "the sign-in ended during login")
        return connection.alive

    def _take_over(self, client_id: str) -> None:
        other = self.core.connections.get(client_id)
        if other is not None:
            other.close(Reason.SESSION_TAKEN_OVER, "another connection uses this client id")

    async def _forget(self, connection: Connection, session: Session, identity: Identity) -> None:
        """A clean start: the session is gone from the disk, too, before its client is told, or a kill would bring it back."""
        if not self._wanted(connection, identity):
            return
        self._take_over(session.client_id)
        if self.core.sessions.get(session.client_id) is session:
            self._drop(session)
        gone = asyncio.Event()
        self.core.durably(gone.set)
        await gone.wait()

    async def _recheck(self, session: Session, identity: Identity) -> None:
        """Before a session is resumed: its subscriptions must still be granted, whatever was missed meanwhile (P5)."""
        texts = list(session.subscriptions)
        answers = await self.core.policy.decide(Action.SUBSCRIBE, [(identity, text) for text in texts])
        self._revoke(session, [text for text, granted in zip(texts, answers, strict=True) if not granted])

    def _revoke(self, session: Session, texts: list[str]) -> None:
        """Take subscriptions away with everything that still waits for them."""
        if not texts:
            return
        scopes = {self.core.policy.scope(text) for text in texts} - {""}
        for text in texts:
            self.core.unsubscribe(session, text)
        if scopes:
            gone = session.purge(lambda message: self.core.policy.scope(message.topic) in scopes)
            self.core.stats.dropped["no_longer_member"] += gone
        self.core.stats.refused["subscription_revoked"] += len(texts)
        log.info("subscriptions.revoked", client_id=session.client_id, count=len(texts))

    def _expiry(self, connect: Connect) -> int:
        limits = self.core.limits
        if connect.version == V5:
            return min(connect.properties.get("session_expiry_interval", 0), limits.session_expiry_max)
        return 0 if connect.clean_start else limits.session_expiry_v311

    def _window(self, connect: Connect, identity: Identity) -> int:
        own = connect.properties.get("receive_maximum", 65_535)
        return own if identity.service else min(own, self.core.limits.window)

    def _keep_alive(self, connect: Connect) -> float:
        wanted, highest = connect.keep_alive, self.core.limits.keep_alive_max
        if connect.version == V5 and highest and not 0 < wanted <= highest:
            wanted = highest
        return wanted * 1.5  # [MQTT-3.1.2-22]

    def _connack_properties(self, connect: Connect, session: Session, assigned: str | None) -> Properties:
        if connect.version != V5:
            return {}
        limits = self.core.limits
        properties: Properties = {
            "receive_maximum": session.connection.receive_maximum,
            "maximum_packet_size": limits.max_packet,
        }
        if limits.topic_alias_maximum:
            properties["topic_alias_maximum"] = limits.topic_alias_maximum
        if session.expiry != connect.properties.get("session_expiry_interval", 0):
            properties["session_expiry_interval"] = session.expiry
        if assigned is not None:
            properties["assigned_client_identifier"] = assigned
        if limits.keep_alive_max and not 0 < connect.keep_alive <= limits.keep_alive_max:
            properties["server_keep_alive"] = limits.keep_alive_max
        return properties

    def refuse(self, connection: Connection, reason: Reason, detail: str) -> None:
        """Answer a CONNECT with no, and close."""
        self.core.stats.connects[reason.name.lower()] += 1
        log.info("client.refused", peer=connection.peer, reason=reason.name.lower(), detail=detail)
        connection.refuse(reason, detail)

    def left(self, connection: Connection, *, publish_will: bool) -> None:
        """A connection that was open is over."""
        core, session = self.core, connection.session
        if core.connections.get(session.client_id) is connection:
            del core.connections[session.client_id]
        session.connection = None
        session.detach()
        core.regroup(session)
        self.ingest.abandon(session)
        if session.shared:
            self.router.redistribute(session)
        if publish_will and connection.will is not None:
            self.wills.leave(session, connection.identity, connection.will)
        elif connection.will is not None or core.draining:
            self.wills.void(session)
        if connection.identity.announce:
            self.presence.disconnected(connection.identity.id, session.client_id)
        if not session.expiry or len(core.sessions) > core.limits.sessions:
            self._drop(session)
        else:
            if session.journal is not None:
                session.journal.left(session)
            self.expire_later(session, session.expiry)

    def expire_later(self, session: Session, seconds: float) -> None:
        """Forget a session that has no connection after so long, unless somebody comes back to it."""
        attached = session.attached
        self.core.later(seconds, lambda: self._expire(session, attached))

    def _expire(self, session: Session, attached: int) -> None:
        """A session's time is over, unless somebody has come back to it (and may have left again, with a new timer)."""
        if session.attached == attached and self.core.sessions.get(session.client_id) is session:
            self._drop(session)

    def _drop(self, session: Session) -> None:
        """Forget a session; what it had of shared subscriptions goes to other members."""
        self.wills.session_ends(session)
        self.router.redistribute(session)
        self.core.drop_session(session)

    # ---- the broker's own messages

    def send(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        """Publish in the broker's own name."""
        self.router.publish(Message(topic, payload, qos=qos, retain=retain))

    # ---- decisions that fall

    def forget(self, principal: str, scope: str) -> None:
        """Something about a principal changed: cached decisions fall at once, and what they allowed is asked again."""
        for session in self.core.sessions_of(principal):
            connection: Connection | None = session.connection
            if connection is not None:
                connection.forget(scope)
            texts = [text for text in session.subscriptions if not scope or self.core.policy.scope(text) == scope]
            if texts:
                self.doubts.raised(session, scope, texts)

    async def sweep(self) -> None:
        """Ask again about everything that was ever allowed: what invalidations should have told, whether or not they came.

        Raises:
            Undecided: it could not be found out; nothing was changed by what is unknown.
        """
        grants = {c.identity.grant for c in self.core.connections.values() if c.identity.grant is not None}
        ended = grants - await self.core.policy.alive(grants)
        self.disconnect(grants=ended, reason=Reason.NOT_AUTHORIZED)
        here = {connection.identity.id for connection in self.core.connections.values()}
        for banned in here - await self.core.policy.welcome(here):
            self.disconnect(principal=banned, reason=Reason.NOT_AUTHORIZED)
        for connection in list(self.core.connections.values()):
            connection.forget("")
        asked = [(session, text) for session in self.core.sessions.values() for text in session.subscriptions]
        for start in range(0, len(asked), SWEEP_BATCH):
            batch = asked[start : start + SWEEP_BATCH]
            answers = await self.core.policy.decide(Action.SUBSCRIBE, [(identity_of(s), text) for s, text in batch])
            for (session, text), granted in zip(batch, answers, strict=True):
                if not granted:
                    self._revoke(session, [text])

    def disconnect(self, *, principal: str | None = None, grants: set[str] | None = None, reason: Reason) -> int:
        """Close every connection of a principal, or of some grants, logins under way included; how many were open."""
        for name in {principal} - {None} | (grants or set()):
            self._ended[str(name)] = self.core.clock()
        chosen = [
            connection
            for connection in list(self.core.connections.values())
            if connection.identity.id == principal or (grants and connection.identity.grant in grants)
        ]
        for connection in chosen:
            connection.close(reason, "the sign-in has ended, or the account is closed or banned")
        return len(chosen)

    # ---- time

    def tick(self) -> None:
        """Once a second: keep alives, half-open connections, stalled readers, timers."""
        now, limits = self.core.clock(), self.core.limits
        self.core.run_timers()
        self.sys_topics.tick(now)
        # A login under way is over when its time is: what ended before that is known to the stores.
        self._ended = {name: at for name, at in self._ended.items() if now - at < limits.connect_timeout}
        for connection in list(self.core.open):
            if not connection.ready:
                if now - connection.opened > limits.connect_timeout:
                    self.core.stats.connects["timeout"] += 1
                    connection.close(Reason.KEEP_ALIVE_TIMEOUT)
            elif connection.reading and 0 < connection.keep_alive < now - connection.last_heard:
                connection.close(Reason.KEEP_ALIVE_TIMEOUT, "nothing heard for one and a half keep alives")
            elif connection.stalled_since is not None and now - connection.stalled_since > limits.write_timeout:
                self.core.stats.dropped["slow_consumer_disconnected"] += 1
                connection.close(Reason.QUOTA_EXCEEDED, "what was sent has not been read for too long")

    def drain(self, server_reference: str = "") -> None:
        """Shut down: tell every client (reason 0x8B), keep their sessions' will unsent, let nobody in any more.

        Args:
            server_reference: where clients shall go instead (5.0 §4.11): MQTT 5 gets it with reason 0x9C.
        """
        self.core.draining = True
        self._server_reference = server_reference
        reason = Reason.USE_ANOTHER_SERVER if server_reference else Reason.SERVER_SHUTTING_DOWN
        for connection in list(self.core.open):
            connection.will = None
            if connection.state is State.LOGIN:
                self._send_away(connection)
            elif connection.state is State.OPEN:
                connection.close(reason, "the broker is being stopped", server_reference=server_reference)

    def _send_away(self, connection: Connection) -> None:
        """A CONNECT while we leave: nothing is looked up, and the answer is no."""
        reference = self._server_reference
        reason = Reason.USE_ANOTHER_SERVER if reference else Reason.SERVER_UNAVAILABLE
        self.core.stats.connects["draining"] += 1
        connection.refuse(reason, "the broker is being stopped", server_reference=reference)

    # ---- tasks

    def spawn(self, work: Coroutine[Any, Any, None]) -> None:
        """Run something beside the packets; its failure is logged."""
        self.keep(asyncio.ensure_future(work))

    def keep(self, task: asyncio.Task[Any]) -> None:
        """Hold a task until it is done: the loop itself holds none."""
        self._tasks.add(task)
        task.add_done_callback(self._done)

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("task.failed", error=type(error).__name__)
