"""Blocking waits on a `Session`: for a subscription to stand, for chats to be caught up with."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence

from clients.python.errors import JoinRefused, JoinTimeout
from clients.python.session import Session


def subscribe(session: Session, what: str, filters: Mapping[str, int], deadline: float) -> None:
    """Subscribe, over reconnects if need be.

    Args:
        session: the connection and what is known.
        what: the chat or user that it is about, for errors.
        filters: with their QoS.
        deadline: on the monotonic clock.

    Raises:
        JoinRefused: one of the filters was refused.
        JoinTimeout: no answer until `deadline`.
        Closed, ConnectRefused: the session has ended.
    """
    while True:
        _wait(session, lambda: session.ready, deadline, f"{what}: not connected in time")
        try:
            answers = session.wire.subscribe(filters).result(max(0.0, deadline - time.monotonic()))
        except ConnectionError:
            continue
        except TimeoutError:
            raise JoinTimeout(f"{what}: no answer to the subscription in time") from None
        refused = next((answer for answer in answers if not answer.ok), None)
        if refused is not None:
            raise JoinRefused(what, refused.code or refused.name, refused.reason_code)
        return


def caught_up(session: Session, chats: Sequence[str], deadline: float) -> None:
    """Wait until nothing is missing of `chats`, or as much is here as is held.

    Raises:
        JoinRefused: one of them is unknown to this user by now.
        JoinTimeout: not until `deadline`; it goes on.
        Closed, ConnectRefused: the session has ended.
    """
    timelines = session.timelines
    _wait(
        session,
        lambda: all(chat not in timelines or timelines.idle(chat) for chat in chats),
        deadline,
        "still catching up",
    )
    with session.changed:
        gone = next((chat for chat in chats if chat not in timelines), None)
    if gone is not None:
        raise JoinRefused(gone, "unknown_chat")


def _wait(session: Session, condition: Callable[[], bool], deadline: float, late: str) -> None:
    with session.changed:
        session.changed.wait_for(lambda: condition() or session.ended, max(0.0, deadline - time.monotonic()))
        if session.ended is not None:
            raise session.ended
        if not condition():
            raise JoinTimeout(late)
