"""Spans of a batch: of each of its messages whose publish is recorded.

    publish (broker) ─► ingest ─┬─ screen    read and filtered, with the whole batch
                                ├─ store     the write that it was part of
                                ├─ fan_out   until the broker has the event, whose receivers go on from here
                                └─ ► push    (worker)

Nothing of this is made in a bridge without traces. In one with them a batch costs one look at each message's properties, and spans for
those that are recorded. They tell of sizes and ids, never of what people write.
"""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from contextvars import ContextVar
from typing import Protocol

from adapters.tracing import enter_task
from bridge.decode import Draft
from bridge.gather import Arrival
from bridge.rejects import Refusal
from bridge.repeats import Stored
from chat.envelopes import Event
from chat.ports import Inserted
from chat.tracing import Kind, Span, TraceContext, Tracer, Value, read_from

_NANOSECONDS = 1_000_000_000

_batch: ContextVar[BatchTrace | None] = ContextVar("batch", default=None)
"""Of the batch that this task works on."""


class Insert(Protocol):
    """`MessageStore.insert`."""

    async def __call__(self, events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
        """Store a batch."""
        ...


class BatchTrace:
    """The spans of one batch.

    Args:
        spans: of the messages that are recorded, by the `id` of their deliveries, which the batch keeps alive.
        began: when work on the batch began, nanoseconds since 1970.
        database: its name.

    Attributes:
        contexts: what jobs are told, by message id.
    """

    def __init__(self, spans: dict[int, Span], began: int, database: str) -> None:
        self._spans = spans
        self._began = began
        self._database = database
        self._by_id: dict[str, Span] = {}
        self._flying: list[Span] = []
        self.contexts: Mapping[str, TraceContext] = {}

    def screened(self, drafts: Iterable[Draft]) -> None:
        """The batch is read and filtered, and these go on."""
        for span in self._spans.values():
            span.child("screen", at=self._began).end()
        for draft in drafts:
            found = self._spans.get(id(draft.arrival.delivery))
            if found is not None:
                found.describe({"messaging.message.id": draft.send.id, "pabal.type": draft.send.type})
                self._by_id.setdefault(draft.send.id, found)
        self.contexts = {message: span.context for message, span in self._by_id.items()}

    def storing(self, events: Sequence[Event]) -> list[Span]:
        """Events are about to be written: those that are recorded are stored with their trace. Returns spans, to be ended after it."""
        begun: list[Span] = []
        about: dict[str, Value] = {
            "db.system.name": "mongodb",
            "db.namespace": self._database,
            "db.collection.name": "messages",
            "db.operation.name": "insert",
            "db.operation.batch.size": len(events),
        }
        for event in events:
            whole = self._by_id.get(event.id)
            if whole is not None:
                event.trace_id = self.contexts[event.id].trace_id
                whole.set("pabal.seq", event.seq)
                begun.append(whole.child("store", Kind.CLIENT, about))
        return begun

    def fan_out(self, events: Iterable[Stored]) -> Mapping[str, TraceContext] | None:
        """Events are on their way: the spans that some belong to, by id; None: none of them."""
        told: dict[str, TraceContext] = {}
        for event in events:
            whole = self._by_id.get(event.id)
            if whole is not None and event.id not in told:
                span = whole.child("fan_out", Kind.PRODUCER, {"messaging.system": "mqtt", "pabal.repeat": event.repeat})
                self._flying.append(span)
                told[event.id] = span.context
        return told or None

    def fanned_out(self) -> None:
        """The broker has them."""
        for span in self._flying:
            span.end()
        self._flying.clear()

    def refused(self, refusals: Iterable[Refusal]) -> None:
        """These were not stored."""
        for refusal in refusals:
            span = self._spans.get(id(refusal.delivery))
            if span is not None:
                span.fail(refusal.error.code)

    def end(self, error: Exception | None = None) -> None:
        """The batch is through, or was given up for an error that nobody foresaw."""
        for span in (*self._flying, *self._spans.values()):
            if error is not None:
                span.fail(type(error).__name__)
            span.end()
        self._flying.clear()
        self._spans.clear()


class Tracing:
    """Begins the spans of batches.

    Args:
        tracer: records them.
        database: name of the database that batches are written to.
    """

    def __init__(self, tracer: Tracer, *, database: str) -> None:
        self._tracer = tracer
        self._database = database

    def begin(self, batch: Sequence[Arrival], *, now: float) -> BatchTrace | None:
        """The spans of a batch that this task works on from here; None when no message of it is recorded.

        Args:
            now: of the clock by which the arrivals came.
        """
        began = time.time_ns()
        spans: dict[int, Span] = {}
        for arrival in batch:
            properties = arrival.delivery.properties
            if not properties:
                continue
            parent = read_from(properties)
            if parent is None:
                continue
            at = began - int((now - arrival.at) * _NANOSECONDS)
            about: dict[str, Value] = {
                "messaging.system": "mqtt",
                "messaging.batch.message_count": len(batch),
                "pabal.chat": arrival.chat,
            }
            span = self._tracer.start("ingest", Kind.CONSUMER, parent, about, at=at)
            if span is not None:
                spans[id(arrival.delivery)] = span
        trace = BatchTrace(spans, began, self._database) if spans else None
        _batch.set(trace)
        # With several it can't be said whose work a line in the log tells of.
        enter_task(next(iter(spans.values())) if spans and len(batch) == 1 else None)
        return trace

    def timed(self, insert: Insert) -> Insert:
        """`MessageStore.insert` with a span for each of the messages that are recorded."""

        async def inserted(events: Sequence[Event], *, push: frozenset[str] = frozenset()) -> list[Inserted]:
            trace = _batch.get()
            spans = [] if trace is None else trace.storing(events)
            try:
                return await insert(events, push=push)
            except BaseException as error:
                for span in spans:
                    span.fail(type(error).__name__)
                raise
            finally:
                for span in spans:
                    span.end()

        return inserted
