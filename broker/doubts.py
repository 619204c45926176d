"""Subscriptions that may have ended: while the policy is asked again, what they would bring is held back (promise P5).

From the moment that something about a principal is known to have changed, until the stores have said what, nothing of what
the change is about reaches its sessions:

| what comes for such a session | meanwhile | subscription stays | it is revoked |
|---|---|---|---|
| QoS 1 and 2, whatever it is about | waits in the session's own queue, with its limit | sent | of that chat: purged; other: sent |
| QoS 0 about what is in doubt | held here, `HELD` at the most | sent | dropped |
| other QoS 0 | sent | | |

That chats which nobody doubts wait too costs one look-up's time, and keeps one queue: it is ordered, bounded, and where what a
publisher was told is taken has to be. When the stores answer late, there is nothing new of any chat either, as it is stored first.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from broker.core import Core
from broker.policy import Action, Identity, Undecided
from broker.router import Router
from mqtt.filters import matches, split_shared
from mqtt.reasons import Reason
from mqtt.session import Session

if TYPE_CHECKING:
    from broker.connection import Connection

log = structlog.get_logger("broker")

HELD = 100
"""QoS 0 messages of one session that wait for the answer (who types, mostly); the next is dropped and counted."""


def identity_of(session: Session) -> Identity:
    """Who a session belongs to, connected or not."""
    connection: Connection | None = session.connection
    return connection.identity if connection is not None else Identity(session.principal)


@dataclass(slots=True)
class _Doubt:
    """What is in doubt about one session.

    Attributes:
        scopes: what invalidations have named; `""` is everything.
        unasked: filters to ask about.
        held: QoS 0 messages: their topic, and what delivers them.
    """

    scopes: set[str] = field(default_factory=set)
    unasked: set[str] = field(default_factory=set)
    held: deque[tuple[str, Callable[[], None]]] = field(default_factory=deque)


class Doubts:
    """Asks again, and stands before the deliveries of `broker.router.Router` as long as an answer is due.

    Args:
        core: shared state.
        router: its gate is this while anything is in doubt, and whatever it was otherwise: without doubts a delivery costs
            nothing more.
        revoke: takes filters from a session, with what waits for them.
        spawn: runs a look-up beside the packets.
    """

    def __init__(
        self,
        core: Core,
        router: Router,
        revoke: Callable[[Session, list[str]], None],
        spawn: Callable[[Coroutine[Any, Any, None]], None],
    ) -> None:
        self._core = core
        self._router = router
        self._revoke = revoke
        self._spawn = spawn
        self._open: dict[Session, _Doubt] = {}
        self._other = router.gate

    def raised(self, session: Session, scope: str, texts: Iterable[str]) -> None:
        """These filters of a session may have ended, for something about `scope` (`""`: about all) has changed."""
        doubt = self._open.get(session)
        if doubt is None:
            doubt = self._open[session] = _Doubt()
            session.hold()
            if self._router.gate is not self:
                self._other, self._router.gate = self._router.gate, self
            self._spawn(self._settle(session, doubt))
        doubt.scopes.add(scope)
        doubt.unasked.update(texts)

    def admits(self, session: Session, topic: str, qos: int, deliver: Callable[[], None]) -> bool:
        """See `broker.router.Gate`. QoS 1 and 2 pass: the session, which is held, keeps them."""
        doubt = self._open.get(session)
        if doubt is None or qos or not ("" in doubt.scopes or self._core.policy.scope(topic) in doubt.scopes):
            return self._other is None or self._other.admits(session, topic, qos, deliver)
        if len(doubt.held) < HELD:
            doubt.held.append((topic, deliver))
        else:
            self._core.stats.dropped["in_doubt"] += 1
        return False

    async def _settle(self, session: Session, doubt: _Doubt) -> None:
        """Ask until no answer is older than the last change."""
        settled = False
        try:
            while doubt.unasked:
                texts = sorted(doubt.unasked.intersection(session.subscriptions))
                doubt.unasked.clear()
                asked = [(identity_of(session), text) for text in texts]
                answers = await self._core.policy.decide(Action.SUBSCRIBE, asked)
                pairs = zip(texts, answers, strict=True)
                self._fall(session, doubt, [text for text, granted in pairs if not (granted or text in doubt.unasked)])
            settled = True
        except Undecided as error:
            log.warning("doubt.undecided", client_id=session.client_id, reason=str(error))
        finally:
            if not settled:
                self._cut(session, doubt)
            self._over(session, doubt)

    @staticmethod
    def _cut(session: Session, doubt: _Doubt) -> None:
        """Nobody can say whether this session may still listen: it may not. On its return it is asked again."""
        doubt.held.clear()
        connection: Connection | None = session.connection
        if connection is not None:
            connection.close(Reason.SERVER_BUSY, "rights can't be checked now")

    def _fall(self, session: Session, doubt: _Doubt, texts: list[str]) -> None:
        """These were refused: what they brought goes with them, also what another filter brought of the same chat."""
        if not texts:
            return
        self._revoke(session, texts)
        scopes = {self._core.policy.scope(text) for text in texts} - {""}
        plain = [shared.topic_filter if (shared := split_shared(text)) else text for text in texts]
        kept = deque(
            (topic, deliver)
            for topic, deliver in doubt.held
            if self._core.policy.scope(topic) not in scopes and not any(matches(text, topic) for text in plain)
        )
        self._core.stats.dropped["no_longer_member"] += len(doubt.held) - len(kept)
        doubt.held = kept

    def _over(self, session: Session, doubt: _Doubt) -> None:
        """Nothing is in doubt about this session any more: it gets what was kept for it."""
        del self._open[session]
        if not self._open:
            self._router.gate = self._other
        if self._core.sessions.get(session.client_id) is not session:
            return
        session.release(self._core.clock())
        if session.out and not session.dirty:
            self._core.touch(session)
        for topic, deliver in doubt.held:
            if self._other is None or self._other.admits(session, topic, 0, deliver):
                deliver()
