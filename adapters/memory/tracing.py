"""A tracer that only remembers."""

from __future__ import annotations

import secrets
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from chat.tracing import NO_ATTRIBUTES, Attributes, Kind, Sampler, TraceContext, Value

MAX_SPANS = 10_000


@dataclass(eq=False, slots=True)
class MemorySpan:
    """`chat.tracing.Span`; `parent` is the span id above it, "" for none."""

    tracer: MemoryTracer
    name: str
    kind: Kind
    context: TraceContext
    parent: str = ""
    attributes: dict[str, Value] = field(default_factory=dict)
    error: str | None = None

    def child(
        self, name: str, kind: Kind = Kind.INTERNAL, attributes: Attributes = NO_ATTRIBUTES, *, at: int | None = None
    ) -> MemorySpan:
        """Begin a part of it."""
        del at
        return self.tracer.below(self.context, name, kind, attributes)

    def rename(self, name: str) -> None:
        """Call it by another name."""
        self.name = name

    def set(self, name: str, value: Value) -> None:
        """Say something about it."""
        self.attributes[name] = value

    def describe(self, attributes: Attributes) -> None:
        """Say several things about it."""
        self.attributes.update(attributes)

    def fail(self, why: str) -> None:
        """It went wrong."""
        self.error = why

    def end(self) -> None:
        """It is over."""
        self.tracer.ended.append(self)


class MemoryTracer:
    """`chat.tracing.Tracer` for tests: `ended` holds the newest spans, in the order of their ends.

    Args:
        ratio, chance: see `Sampler`.
    """

    def __init__(self, ratio: float = 1.0, *, chance: Callable[[], float] = lambda: 0.0) -> None:
        self.ended: deque[MemorySpan] = deque(maxlen=MAX_SPANS)
        self._sampler = Sampler(ratio, clock=time.monotonic, chance=chance)

    def below(self, parent: TraceContext, name: str, kind: Kind, attributes: Attributes) -> MemorySpan:
        """A span below another."""
        context = TraceContext(parent.trace_id, secrets.token_hex(8), sampled=True, state=parent.state)
        return MemorySpan(self, name, kind, context, parent.span_id, dict(attributes))

    def enter(
        self, name: str, kind: Kind, offered: TraceContext | None = None, attributes: Attributes = NO_ATTRIBUTES
    ) -> MemorySpan | None:
        """See `chat.tracing.Tracer.enter`."""
        if not self._sampler.takes(offered):
            return None
        return self.below(offered or TraceContext(secrets.token_hex(16), "", sampled=True), name, kind, attributes)

    def start(
        self,
        name: str,
        kind: Kind,
        parent: TraceContext,
        attributes: Attributes = NO_ATTRIBUTES,
        *,
        at: int | None = None,
    ) -> MemorySpan | None:
        """See `chat.tracing.Tracer.start`."""
        del at
        return self.below(parent, name, kind, attributes) if parent.sampled else None

    def close(self) -> None:
        """Nothing is left to hand over."""
