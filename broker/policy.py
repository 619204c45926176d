"""The policy port: who is it, and may they? The engine asks and never decides.

`OpenPolicy` allows everything, for tools and test suites on loopback. `chat_policy.ChatPolicy` is Pabal's.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from enum import Enum
from ssl import SSLObject
from typing import Protocol

from mqtt.reasons import Reason


class Action(Enum):
    """What somebody wants to do with a topic or filter."""

    PUBLISH = "publish"
    SUBSCRIBE = "subscribe"


@dataclass(frozen=True, slots=True)
class Identity:
    """Who is behind a connection.

    Attributes:
        id: the principal; client ids and sessions belong to it.
        service: one of our own processes: it may stamp messages, join shared subscriptions, and has larger windows.
        grant: the sign-in that the connection lives on; None if it lives on nothing but itself.
        announce: whether its coming and going is told (presence).
    """

    id: str
    service: bool = False
    grant: str | None = None
    announce: bool = True


@dataclass(frozen=True, slots=True)
class Login:
    """What CONNECT brought.

    Attributes:
        certificate: the name in the client certificate that TLS has verified; "" if it names nobody or several, None
            without a certificate. It says who logs in: a username is none, or the same.
        tls: the connection's TLS, for plugins that read the certificate themselves; None without.
    """

    client_id: str
    username: str | None
    password: bytes | None
    address: str
    certificate: str | None = None
    tls: SSLObject | None = None

    def check_certificate(self) -> None:
        """That the certificate names somebody, and CONNECT nobody else.

        Raises:
            LoginRefused: it doesn't, or the username is another.
        """
        if self.certificate is None:
            return
        if (
            not self.certificate or "\0" in self.certificate
        ):  # no name of ours holds a NUL, which truncates some people's
            raise LoginRefused(Reason.NOT_AUTHORIZED, "the client certificate has not exactly one common name")
        if self.username not in (None, self.certificate):
            raise LoginRefused(Reason.BAD_USER_NAME_OR_PASSWORD, "the username is not the client certificate's name")


class LoginRefused(Exception):
    """The connection is not let in.

    Args:
        reason: MQTT 5 reason code (`mqtt.reasons.Reason`).
        detail: a sentence for the log and the client.
    """

    def __init__(self, reason: int, detail: str) -> None:
        super().__init__(detail)
        self.reason = reason
        self.detail = detail


class Undecided(Exception):
    """It can't be found out now who may what: nothing new is allowed, and nobody is told that they never may."""


@dataclass(frozen=True, slots=True)
class Notice:
    """A message that the policy wants sent to somebody whose publish was refused.

    Attributes:
        code: the stable code that it gives as the reason; the publisher's PUBACK carries it too.
    """

    topic: str
    payload: bytes
    code: str


class Policy(Protocol):
    """Decides. What no rule allows is denied."""

    async def login(self, login: Login) -> Identity:
        """Who it is, and that the client id is theirs.

        Raises:
            LoginRefused: nobody, or not with this client id.
        """
        ...

    def absent(self, principal: str, client_id: str, *, service: bool) -> Identity:
        """Who a session is of that an earlier process has left on disk, until its client logs in again."""
        ...

    def known(self, identity: Identity, action: Action, topic: str) -> bool | None:
        """The answer if no look-up is needed; None if `decide` must be asked."""
        ...

    async def decide(self, action: Action, asked: Sequence[tuple[Identity, str]]) -> list[bool]:
        """One answer per (who, topic or filter): as few look-ups as that takes.

        Raises:
            Undecided: the facts can't be had now.
        """
        ...

    def scope(self, topic: str) -> str:
        """What an invalidation names when decisions about this topic fall: a chat id, or "" when none ever do."""
        ...

    def notice(self, identity: Identity, topic: str, payload: bytes, reason: str) -> Notice | None:
        """What to tell the sender of a publish that was refused, besides the reason code."""
        ...

    async def welcome(self, principals: Collection[str]) -> set[str]:
        """Those principals who are still let in: neither banned nor gone.

        Raises:
            Undecided: it can't be found out now.
        """
        ...

    async def alive(self, grants: Iterable[str]) -> set[str]:
        """Those grants that have neither ended nor been revoked.

        Raises:
            Undecided: it can't be found out now.
        """
        ...


class OpenPolicy:
    """Everybody may do everything; names are taken as they come."""

    def __init__(self, denied: Sequence[str] = ()) -> None:
        self._denied = frozenset(denied)

    async def login(self, login: Login) -> Identity:
        """Whoever they say they are; with a client certificate, whom it names."""
        login.check_certificate()
        return Identity(login.certificate or login.username or login.client_id or "anonymous", announce=False)

    def absent(self, principal: str, client_id: str, *, service: bool) -> Identity:  # noqa: ARG002 - the port's shape
        """The same."""
        return Identity(principal, service=service, announce=False)

    def known(self, identity: Identity, action: Action, topic: str) -> bool | None:  # noqa: ARG002 - the port's shape
        """Yes, but for the filters that are denied by name."""
        return not (action is Action.SUBSCRIBE and topic in self._denied)

    async def decide(self, action: Action, asked: Sequence[tuple[Identity, str]]) -> list[bool]:
        """As `known`."""
        return [bool(self.known(identity, action, topic)) for identity, topic in asked]

    def scope(self, topic: str) -> str:  # noqa: ARG002 - the port's shape
        """No decision ever falls."""
        return ""

    def notice(self, identity: Identity, topic: str, payload: bytes, reason: str) -> Notice | None:  # noqa: ARG002
        """Nothing but the reason code."""
        return None

    async def welcome(self, principals: Collection[str]) -> set[str]:
        """All of them."""
        return set(principals)

    async def alive(self, grants: Iterable[str]) -> set[str]:
        """All of them."""
        return set(grants)
