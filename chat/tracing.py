"""Traces: the context that travels with a message from its publisher to the push, and the port to whoever records spans.

The context is W3C Trace Context (https://www.w3.org/TR/trace-context/): `traceparent` and `tracestate`, as HTTP headers, as user properties
of MQTT 5 and as headers of Celery's jobs. What a stranger sends is read strictly, and is used only if it is well-formed.

Where nothing is recorded there is no tracer: whoever may have one holds `Tracer | None`, and asks once. No span and no context ever holds what people
write, a token or a secret.
"""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Mapping
from enum import StrEnum
from typing import NamedTuple, Protocol

TRACEPARENT = "traceparent"
TRACESTATE = "tracestate"

MAX_STATE = 512
"""Characters of a `tracestate` that are passed on: as many as the standard asks for (§3.3.1.5)."""

MAX_MEMBERS = 32
"""Its members (§3.3.1.1)."""

OFFERED_PER_SECOND = 50
"""Traces that strangers may have recorded by saying that theirs is: beyond it they are not, whatever they say. A developer's phone needs one;
one that says so with every message would otherwise decide what our exporter and the collector do."""

_PARENT = re.compile(
    r"(?!ff)([0-9a-f]{2})-(?!0{32})([0-9a-f]{32})-(?!0{16})([0-9a-f]{16})-([0-9a-f]{2})(-.*)?", re.ASCII
)
_KEY = r"(?:[a-z][a-z0-9_\-*/]{0,255}|[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13})"
_MEMBER = re.compile(_KEY + r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]", re.ASCII)


class TraceContext(NamedTuple):
    """A span as others know it.

    Attributes:
        trace_id: of the whole trace, 32 hexadecimal digits.
        span_id: of the span, 16.
        sampled: whether it is recorded.
        state: what other vendors passed along (`tracestate`).
    """

    trace_id: str
    span_id: str
    sampled: bool
    state: str = ""

    @property
    def traceparent(self) -> str:
        """As the header or property of that name."""
        return f"00-{self.trace_id}-{self.span_id}-{'01' if self.sampled else '00'}"

    @property
    def headers(self) -> dict[str, str]:
        """Everything that travels."""
        own = {TRACEPARENT: self.traceparent}
        return own | {TRACESTATE: self.state} if self.state else own


def read(traceparent: str | None, tracestate: str | None = None) -> TraceContext | None:
    """The context that somebody offers; None when it is not well-formed. A broken `tracestate` is left out (§4.3)."""
    found = _PARENT.fullmatch(traceparent) if traceparent is not None else None
    if found is None or (found[1] == "00" and found[5] is not None):
        return None
    return TraceContext(found[2], found[3], bool(int(found[4], 16) & 1), _state(tracestate))


def read_from(headers: Mapping[str, str]) -> TraceContext | None:
    """The same, of what came with a message."""
    parent = headers.get(TRACEPARENT)
    return None if parent is None else read(parent, headers.get(TRACESTATE))


def _state(text: str | None) -> str:
    if not text or len(text) > MAX_STATE:
        return ""
    members = [member.strip(" \t") for member in text.split(",")]
    members = [member for member in members if member]
    keys = {member.partition("=")[0] for member in members}
    if not 0 < len(members) <= MAX_MEMBERS or len(keys) != len(members):
        return ""
    return ",".join(members) if all(_MEMBER.fullmatch(member) for member in members) else ""


class Kind(StrEnum):
    """What a span is to its neighbours."""

    INTERNAL = "internal"
    SERVER = "server"
    CLIENT = "client"
    PRODUCER = "producer"
    CONSUMER = "consumer"


Value = str | int | float | bool
Attributes = Mapping[str, Value]
NO_ATTRIBUTES: Attributes = {}


class Span(Protocol):
    """Something that took time, being recorded."""

    @property
    def context(self) -> TraceContext:
        """What its children elsewhere are told."""
        ...

    def child(
        self, name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes = NO_ATTRIBUTES, *, at: int | None = None
    ) -> Span:
        """Begin a part of it: now, or at a time in nanoseconds since 1970."""
        ...

    def rename(self, name: str) -> None:
        """Call it by another name, once more is known."""
        ...

    def set(self, name: str, value: Value) -> None:
        """Say something about it."""
        ...

    def describe(self, attributes: Attributes) -> None:
        """Say several things about it; cheaper than one by one."""
        ...

    def fail(self, why: str) -> None:
        """It went wrong. `why` is a code or the name of a type, never the text of an error: that may quote what people wrote."""
        ...

    def end(self) -> None:
        """It is over; call it once."""
        ...


class Tracer(Protocol):
    """Records spans."""

    def enter(
        self, name: str, kind: Kind, offered: TraceContext | None = None, attributes: Attributes = NO_ATTRIBUTES
    ) -> Span | None:
        """Begin the first span of ours: of the trace that a stranger offers, or of a new one. None: it is not to be recorded (`Sampler`)."""
        ...

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        at: int | None = None,
    ) -> Span | None:
        """Begin a span below one that another process of ours has begun: recorded if that one is, else None. `at` as in `Span.child`."""
        ...

    def close(self) -> None:
        """Hand over what has ended, within some seconds, and record nothing more. It blocks for so long."""
        ...


class Sampler:
    """Decides which traces are recorded: a share of the new ones; of those that strangers offer the ones that they record themselves, bounded.

    Args:
        ratio: of new traces, 0 to 1.
        clock: monotonic seconds.
        chance: evenly from 0 to below 1.
    """

    def __init__(
        self, ratio: float, *, clock: Callable[[], float], chance: Callable[[], float] = random.random
    ) -> None:
        self._ratio = ratio
        self._clock = clock
        self._chance = chance
        self._second = 0
        self._taken = 0

    def takes(self, offered: TraceContext | None) -> bool:
        """Whether to record the trace that begins here, or that somebody offers."""
        if offered is None:
            return self._chance() < self._ratio
        if not offered.sampled:
            return False
        second = int(self._clock())
        if second != self._second:
            self._second, self._taken = second, 0
        self._taken += 1
        return self._taken <= OFFERED_PER_SECOND
