"""A policy made of amqtt plugins: `BaseAuthPlugin` says who gets in, `BaseTopicPlugin` who may publish, subscribe and receive.

amqtt's own plugin manager loads and asks them, and its broker's rules combine the answers:

| asked | plugins | allowed |
|---|---|---|
| authenticate | None answers are left out | at least one answer, all of them true |
| topic_filtering | any | all answers true: None counts as no; without any topic plugin everything is allowed |

What differs: an error, or no answer in time, is a no. Answers are kept and asked again after a while (`forget`).
amqtt is imported when plugins are loaded: who has none needs no amqtt.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Collection, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import structlog

from broker.policy import Action, Identity, Login, LoginRefused, Notice
from mqtt.filters import split_shared
from mqtt.reasons import Reason

log = structlog.get_logger("broker")

NAMESPACE = "pabal.amqtt"
TIMEOUT = 10.0
"""Seconds for all plugins to answer one question: a login has no longer either (`limits.connect_timeout`)."""
TOPICS_KEPT = 1024
"""Answers about receiving that are kept per client; beyond it they are asked for anew."""
CLIENT_GRACE = 60.0
"""Seconds that a login has to become a session before it is forgotten."""


class PluginProblem(Exception):
    """The plugins can't be used as they are configured: the broker doesn't start."""


@dataclass(slots=True)
class Client:
    """What is known of one client id of one principal.

    Attributes:
        session: amqtt's session object, which plugins read and may write to; None until somebody is asked about a client that
            has not logged in since the start: to make one for each session on disk would take minutes.
        received: topic -> whether it may receive it.
        since: when it logged in, seconds of a monotonic clock.
    """

    login: Login
    session: Any = None
    received: dict[str, bool] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)


@dataclass(frozen=True, slots=True)
class PluginIdentity(Identity):
    """An identity with the client that plugins are asked about."""

    client: Client | None = field(default=None, compare=False, repr=False)


class PluginPolicy:
    """The policy of a broker with amqtt plugins; made by `load`, ended by `close`.

    Args:
        manager: amqtt's plugin manager with the plugins in it.
        has_topic_plugins: whether any of them is asked about topics.
        patience: seconds for an answer.
    """

    def __init__(self, manager: Any, *, has_topic_plugins: bool, patience: float = TIMEOUT) -> None:
        self._manager = manager
        self._patience = patience
        self.has_topic_plugins = has_topic_plugins
        self._clients: dict[tuple[str, str], Client] = {}

    @classmethod
    async def load(cls, plugins: Sequence[tuple[str, dict[str, Any]]], *, patience: float = TIMEOUT) -> PluginPolicy:
        """Load plugins, and let them prepare themselves as amqtt does (`on_broker_pre_start`).

        Args:
            plugins: dotted name of the class, and the fields of its `Config`.
            patience: seconds for an answer to each question.

        Raises:
            PluginProblem: with what is wrong, in a sentence.
        """
        names = [name for name, _ in plugins]
        if len(set(names)) < len(names):
            raise PluginProblem("an amqtt plugin is named twice")
        try:
            from amqtt.contexts import BaseContext  # noqa: PLC0415 - only who has plugins needs amqtt
            from amqtt.events import BrokerEvents  # noqa: PLC0415
            from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin  # noqa: PLC0415
            from amqtt.plugins.manager import PluginManager  # noqa: PLC0415
        except ImportError as error:
            raise PluginProblem(f"amqtt plugins need the extra amqtt of this project: {error}") from None
        # amqtt's file plugin warns of a malformed line of the password file by writing the whole line to the log.
        logging.getLogger(NAMESPACE).setLevel(logging.ERROR)
        context = BaseContext()
        context.config = {"plugins": dict(plugins)}
        try:
            manager = PluginManager(NAMESPACE, context)
        except Exception as error:  # a plugin is anybody's code
            raise PluginProblem(_story(error)) from error
        if not any(isinstance(plugin, BaseAuthPlugin) for plugin in manager.plugins):
            await manager.close()
            raise PluginProblem("none of the amqtt plugins authenticates: nobody could connect")
        topics = any(isinstance(plugin, BaseTopicPlugin) for plugin in manager.plugins)
        await manager.fire_event(BrokerEvents.PRE_START, wait=True)
        log.info("plugins.loaded", plugins=names)
        return cls(manager, has_topic_plugins=topics, patience=patience)

    async def close(self) -> None:
        """Let the plugins release what they hold, as amqtt does (`on_broker_pre_shutdown`, `close`)."""
        from amqtt.events import BrokerEvents  # noqa: PLC0415

        await self._manager.fire_event(BrokerEvents.PRE_SHUTDOWN, wait=True)
        await self._manager.close()

    # ---- the port

    async def login(self, login: Login) -> Identity:
        """Ask every auth plugin. The principal is whom a client certificate names; without one the user name; without that the
        client id, marked by a NUL, which no name has. Plugins see the user name as CONNECT brought it, as in amqtt.
        """
        login.check_certificate()
        session = _session(login)
        answers = await self._ask("authenticate", self._manager.map_plugin_auth(session=session))
        if answers is None:
            raise LoginRefused(Reason.SERVER_UNAVAILABLE, "credentials can't be checked now: try again")
        given = [answer for answer in answers if answer is not None]
        if not given or not all(given):
            raise LoginRefused(Reason.BAD_USER_NAME_OR_PASSWORD, "not authenticated")
        client = Client(login, session)
        principal = login.certificate or login.username or f"\0{login.client_id}"
        self._clients[principal, login.client_id] = client
        return PluginIdentity(principal, announce=False, client=client)

    def absent(self, principal: str, client_id: str, *, service: bool) -> Identity:
        """A session from disk. Plugins are told its client id and user name, which is all that is left of its login."""
        username = None if principal.startswith("\0") else principal
        client = Client(Login(client_id, username, None, ""))
        self._clients[principal, client_id] = client
        return PluginIdentity(principal, service=service, announce=False, client=client)

    def known(self, identity: Identity, action: Action, topic: str) -> bool | None:  # noqa: ARG002 - the port's shape
        """Yes, if there is nobody to ask, as in amqtt."""
        return None if self.has_topic_plugins else True

    async def decide(self, action: Action, asked: Sequence[tuple[Identity, str]]) -> list[bool]:
        """Ask every topic plugin about each; one after the other, as plugins may share a connection."""
        return [await self._one(identity, action, topic) for identity, topic in asked]

    async def _one(self, identity: Identity, action: Action, topic: str) -> bool:
        client = identity.client if isinstance(identity, PluginIdentity) else None
        if client is None:
            return False
        if action is Action.SUBSCRIBE and (shared := split_shared(topic)) is not None:
            topic = shared.topic_filter  # amqtt knows no shared subscriptions: what is listened to is what counts
        return await self._topic(client, topic, action.value)

    def scope(self, topic: str) -> str:  # noqa: ARG002 - the port's shape
        """No decision falls by name; `forget` has them all asked again."""
        return ""

    def notice(self, identity: Identity, topic: str, payload: bytes, reason: str) -> Notice | None:  # noqa: ARG002
        """Nothing but the reason code."""
        return None

    async def welcome(self, principals: Collection[str]) -> set[str]:
        """Plugins are asked at login only, as in amqtt."""
        return set(principals)

    async def alive(self, grants: Iterable[str]) -> set[str]:
        """A sign-in lives as long as its connection."""
        return set(grants)

    # ---- receiving, which amqtt asks about as well

    def may_receive(self, principal: str, client_id: str, topic: str) -> bool | None:
        """The answer that is kept; None if `receives` must be asked. Who is not known receives nothing."""
        client = self._clients.get((principal, client_id))
        return False if client is None else client.received.get(topic)

    async def receives(self, principal: str, client_id: str, topic: str) -> bool:
        """Ask whether a client may receive what was published on a topic, and keep the answer."""
        client = self._clients.get((principal, client_id))
        if client is None:
            return False
        granted = await self._topic(client, topic, "receive")
        if len(client.received) >= TOPICS_KEPT:
            client.received.clear()
        client.received[topic] = granted
        return granted

    def forget(self, sessions: Collection[tuple[str, str]]) -> None:
        """Drop the answers that were kept, and the clients that have no session (principal, client id) any more."""
        now = time.monotonic()
        for key, client in list(self._clients.items()):
            client.received.clear()
            if key not in sessions and now - client.since > CLIENT_GRACE:
                del self._clients[key]

    # ---- asking

    async def _topic(self, client: Client, topic: str, action: str) -> bool:
        from amqtt.contexts import Action as TheirAction  # noqa: PLC0415

        if client.session is None:
            client.session = _session(client.login)
        question = self._manager.map_plugin_topic(session=client.session, topic=topic, action=TheirAction(action))
        answers = await self._ask(action, question)
        return answers is not None and all(answers)

    async def _ask(self, what: str, question: Awaitable[dict[Any, Any]]) -> list[Any] | None:
        """The answers of all plugins; None if one failed or took too long."""
        try:
            async with asyncio.timeout(self._patience):
                return list((await question).values())
        except Exception as error:  # noqa: BLE001 - a plugin is anybody's code: whatever it raises is a no
            log.warning("plugin.failed", asked=what, error=type(error).__name__)
            return None


def _session(login: Login) -> Any:
    """The session object of amqtt with what CONNECT brought."""
    from amqtt.session import Session  # noqa: PLC0415

    session = Session()
    session.client_id = login.client_id
    session.username = login.username
    try:
        session.password = None if login.password is None else login.password.decode()
    except UnicodeDecodeError:
        raise LoginRefused(Reason.BAD_USER_NAME_OR_PASSWORD, "the password is not UTF-8, as plugins expect") from None
    host, _, port = login.address.rpartition(":")
    session.ssl_object = login.tls
    session.remote_address, session.remote_port = host or login.address or None, int(port) if port.isdecimal() else None
    return session


def _story(error: BaseException) -> str:
    """What went wrong: errors of amqtt name the class at best, why stands in what caused them."""
    parts: list[str] = []
    cause: BaseException | None = error
    while cause is not None:
        parts.append(f"{type(cause).__name__}: {cause}" if str(cause) else type(cause).__name__)
        cause = cause.__cause__
    return "; ".join(parts)
