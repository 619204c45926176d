"""What traces cost: processor time per message of the broker's ingest and of the bridge, in one process, without sockets and databases.

    python -m bench.traces            off, on with nothing recorded, 1 % and 100 % recorded, in turn
    python -m bench.traces --rounds 3

Spans are encoded and packed as for a collector, which is not there: its own work is not ours. The bridge works on memory stores, which cost less than
MongoDB: what traces add is as it is, what they are added to is not.
"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import logging
import statistics
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import structlog
import uvloop
from opentelemetry.exporter.otlp.proto.common.trace_encoder import encode_spans
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter, SpanExportResult
from prometheus_client import CollectorRegistry

from adapters.memory import memory_stores
from adapters.memory.invalidations import MemoryInvalidations
from adapters.memory.jobs import MemoryJobQueue
from adapters.memory.link import MemoryBroker
from adapters.memory.presence import MemoryPresence
from adapters.memory.push_progress import MemoryPushProgress
from adapters.memory.ratelimit import MemoryRateLimiter
from adapters.otlp import OtlpTracer
from bench import micro
from bridge.app import Bridge
from bridge.settings import Settings
from chat import topics
from chat.envelopes import Body, Send, encode
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Member, Role
from chat.ports import Delivery
from chat.tracing import TraceContext

TURNS = 40
"""Of the broker: 400 messages each."""
MESSAGES = 8_000
READ = 64
"""Messages that one read of the link brings."""
CHATS = 40
_TEXT = "안녕하세요 " * 20

MODES: dict[str, float | None] = {"off": None, "on, 0 %": 0.0, "on, 1 %": 0.01, "on, 100 %": 1.0}


class _Encoder(SpanExporter):
    """Does what an exporter does but for sending."""

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        gzip.compress(encode_spans(spans).SerializeToString())
        return SpanExportResult.SUCCESS


def _tracer(ratio: float | None) -> OtlpTracer | None:
    return None if ratio is None else OtlpTracer("http://127.0.0.1:9", ratio, "pabal-bench", exporter=_Encoder())


def broker(ratio: float | None) -> float:
    """Microseconds of processor time per message that the broker hands to a bridge."""
    tracer = _tracer(ratio)
    start = time.process_time()
    delivered, seconds = uvloop.run(micro.ingest(TURNS, tracer=tracer))
    setting_up = time.process_time() - start - seconds
    if tracer is not None:
        tracer.close()
    return (time.process_time() - start - setting_up) / delivered * 1e6


def bridge(ratio: float | None) -> float:
    """The same per message that a bridge takes in, stores and fans out."""
    tracer = _tracer(ratio)
    start, seconds = uvloop.run(_bridge(tracer, ratio or 0.0))
    if tracer is not None:
        tracer.close()
        seconds = time.process_time() - start
    return seconds / MESSAGES * 1e6


async def _bridge(tracer: OtlpTracer | None, ratio: float) -> tuple[float, float]:
    """When it began, and how long it took, without what goes before and behind."""
    stores, link = memory_stores(), MemoryBroker().link()
    for number in range(CHATS):
        people = [Member(f"c{number}", f"u{who}", Role.MEMBER, datetime.now(UTC)) for who in (1, 2)]
        await stores.chats.create(Chat(f"c{number}", ChatKind.GROUP, datetime.now(UTC), "u1"), people)
    made = Bridge(
        Settings(link_secret_file=Path("unused"), bridge_duplicates=0),
        link=link,
        stores=stores,
        presence=MemoryPresence(),
        invalidations=MemoryInvalidations(),
        jobs=MemoryJobQueue(),
        limiter=MemoryRateLimiter(),
        registry=CollectorRegistry(),
        progress=MemoryPushProgress(),
        tracer=tracer,
    )
    stop, left, done = asyncio.Event(), MESSAGES, asyncio.Event()
    running = asyncio.create_task(made.run(stop))

    def settle(_code: int, _reason: str | None, _name: str | None) -> None:
        nonlocal left
        left -= 1
        if not left:
            done.set()

    reads = [[_delivery(at + one, ratio, settle) for one in range(READ)] for at in range(0, MESSAGES, READ)]
    await asyncio.sleep(0.05)
    start = time.process_time()
    for deliveries in reads:
        made.receive(deliveries)
        await asyncio.sleep(0)
    await done.wait()
    seconds = time.process_time() - start
    stop.set()
    await running
    return start, seconds


def _delivery(number: int, ratio: float, settle: Callable[[int, str | None, str | None], None]) -> Delivery:
    """A message as the broker hands it over; of so many in one, every hundredth or each, the publish is recorded."""
    recorded = bool(ratio) and number % round(1 / ratio) == 0
    trace = TraceContext(f"{number + 1:032x}", f"{number + 1:016x}", sampled=True)
    payload = encode(Send(id=new_message_id(), body=Body(text=f"{number} {_TEXT}")))
    return Delivery(
        topics.send(f"c{number % CHATS}", "u1"), payload, 1, settle, None, trace.headers if recorded else {}
    )


def main() -> None:
    """The command line."""
    options = argparse.ArgumentParser(prog="python -m bench.traces", description="What traces cost per message.")
    options.add_argument("--rounds", type=int, default=7)
    rounds: int = options.parse_args().rounds
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    for part in (broker, bridge):
        found: dict[str, list[float]] = {mode: [] for mode in MODES}
        for number in range(rounds + 1):
            # There and back: what a mode leaves behind (memory, warm caches) is not always the next one's.
            for mode, ratio in list(MODES.items())[:: 1 if number % 2 else -1]:
                cost = part(ratio)
                if number:  # the first warms caches up
                    found[mode].append(cost)
        for mode, costs in found.items():
            more = statistics.median(cost - off for cost, off in zip(costs, found["off"], strict=True))
            cost = statistics.median(costs)
            print(f"{part.__name__:7} {mode:10} {cost:7.2f} us per message, {more:+7.2f}", flush=True)


if __name__ == "__main__":
    main()
