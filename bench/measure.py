"""Does one scenario against one broker, and says what came out."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace

import psutil

from bench.accounts import (
    FILLER,
    FILLER_DEVICE,
    PAIRS,
    SERVICE,
    SPEAKER,
    chat,
    device,
    inbox,
    owner,
    telemetry,
    typing,
    user,
)
from bench.load import Tally, Target, Who, engine
from bench.peers import Peer, Running
from bench.scenarios import GATHER, SIZE, Connects, FanOut, Idle, Pairs, Scenario
from bench.stats import busy_seconds, cpu_seconds, percentile

SECONDS = 120.0
"""The longest that one measurement may take."""
_FILLER_SESSIONS = 4
_SETTLE = 1.0
"""Seconds of quiet before memory is read."""


@dataclass(frozen=True, slots=True)
class Result:
    """One measurement. Times are seconds, None where there is nothing of the kind.

    Attributes:
        value: in the scenario's unit.
        ack: publish to the last acknowledgement (p50, p99); of `Connects`, socket to CONNACK.
        delivery: publish to delivery (p50, p99).
        server: cores that the broker used.
        load: cores that the load generator used: near 1 means that it was the bottleneck.
        others: cores that everything else on the machine used: much of it means that figures are lower bounds.
    """

    value: float
    ack: tuple[float, float] | None = None
    delivery: tuple[float, float] | None = None
    server: float = 0.0
    load: float = 0.0
    others: float = 0.0


def measure(scenario: Scenario, peer: Peer, *, few: bool) -> Result:
    """Start the broker, do the work, end it.

    Args:
        few: the broker is known to be slow: do less.

    Raises:
        RuntimeError: a message was refused.
        TimeoutError: messages are missing.
        ConnectionError: the broker hung up.
    """
    with peer.start(persistent=scenario.keep) as running:
        match scenario:
            case Pairs():
                return _pairs(scenario, peer, running, scenario.few if few else scenario.messages)
            case FanOut():
                return _fan_out(scenario, peer, running, scenario.few if few else scenario.messages)
            case Idle():
                return _idle(peer, running, scenario.few if few else scenario.connections)
            case Connects():
                return _connects(peer, running, scenario.few if few else scenario.connections)


def _who(peer: Peer, name: str, *filters: str, instance: str = "", like: Pairs | None = None) -> Who:
    """Who connects as `name`; with the version, QoS and kind of session of a scenario, else 3.1.1, QoS 1 and a clean one."""
    client_id = f"{name}:{instance}" if instance else name
    made = Who(client_id, name, peer.password(name), filters=filters)
    return made if like is None else replace(made, version=like.version, qos=like.qos, keep=like.keep)


# ---- pairs


def _pairs(scenario: Pairs, peer: Peer, running: Running, messages: int) -> Result:
    target = Target(*running.websocket) if scenario.websocket else Target(running.port)
    # With one message under way everybody waits for the answer: it is read at once.
    with engine(pause=GATHER if scenario.window > 1 else 0.0) as load:
        sent, got = Tally(), Tally()
        load.open(Target(running.port), _others(scenario, peer), Tally())
        subscribers = load.open(target, _subscribers(scenario, peer), got)
        names = [device(number) for number in range(PAIRS)]
        publishers = load.open(target, [_who(peer, name, like=replace(scenario, keep=False)) for name in names], sent)
        count = messages // PAIRS
        total = count * PAIRS
        if not scenario.qos:  # nothing is answered: what was delivered makes room
            for publisher, subscriber in zip(publishers, subscribers, strict=True):
                subscriber.on_received = publisher.credit
        with _clock(running) as clock:
            for name, publisher in zip(names, publishers, strict=True):
                topic = telemetry(name, "value")
                publisher.publish(topic, SIZE, qos=scenario.qos, count=count, window=scenario.window)
            acks = total if scenario.qos else 0
            load.run(lambda: got.received >= total and sent.acked >= acks, seconds=SECONDS, what="messages")
        return _result(total, clock, sent, got)


def _subscribers(scenario: Pairs, peer: Peer) -> list[Who]:
    if scenario.share:
        filter_ = f"$share/bench/{telemetry('+')}"
        return [_who(peer, SERVICE, filter_, instance=f"s{one}", like=scenario) for one in range(scenario.share)]
    return [_who(peer, owner(number), telemetry(device(number)), like=scenario) for number in range(PAIRS)]


def _others(scenario: Pairs, peer: Peer) -> list[Who]:
    """Connections with filters that match nothing; those with wildcards stand where matching passes by."""
    each = scenario.others // _FILLER_SESSIONS
    found = []
    for session in range(_FILLER_SESSIONS if scenario.others else 0):
        numbers = range(session * each, (session + 1) * each)
        if scenario.wildcards:
            filters = [telemetry("+", f"{number:05}/#") for number in numbers]
        else:
            filters = [telemetry(FILLER_DEVICE, f"{number:05}") for number in numbers]
        name = SERVICE if scenario.wildcards else FILLER
        found.append(_who(peer, name, *filters, instance=f"f{session}"))
    return found


# ---- one to many


def _fan_out(scenario: FanOut, peer: Peer, running: Running, messages: int) -> Result:
    room, members = chat(scenario.receivers), scenario.receivers
    with engine(pause=GATHER) as load:
        sent, got = Tally(), Tally()
        target = Target(running.port)
        receivers = load.open(target, [_who(peer, user(number), typing(room)) for number in range(members)], got)
        (speaker,) = load.open(target, [_who(peer, SPEAKER)], sent)
        complete = 0

        def received(_: int) -> None:
            nonlocal complete
            if (more := got.received // members - complete) > 0:
                complete += more
                speaker.credit(more)

        for receiver in receivers:
            receiver.on_received = received
        with _clock(running) as clock:
            # Its PUBACK makes no room: the broker gives it before all have the message.
            topic = typing(room, SPEAKER)
            speaker.publish(topic, SIZE, qos=1, count=messages, window=scenario.window, answers_make_room=False)
            total = messages * members
            load.run(lambda: got.received >= total and sent.acked >= messages, seconds=SECONDS, what="messages")
        return _result(total, clock, sent, got)


# ---- connections


def _connects(peer: Peer, running: Running, connections: int) -> Result:
    with engine() as load:
        people = [_who(peer, user(number)) for number in range(connections)]
        with _clock(running) as clock:
            opened = load.open(Target(running.port), people, Tally())
        times = [one.let_in for one in opened]
        ack = percentile(times, 0.5), percentile(times, 0.99)
        return Result(connections / clock.elapsed, ack, None, clock.server, clock.load, clock.others)


def _idle(peer: Peer, running: Running, connections: int) -> Result:
    process = psutil.Process(running.pid)
    with engine() as load:
        # The first ones pay for what is loaded once.
        load.open(Target(running.port), [_who(peer, owner(0), telemetry(device(0)))], Tally())
        time.sleep(_SETTLE)
        before = process.memory_info().rss
        names = map(user, range(connections))
        with _clock(running) as clock:
            load.open(Target(running.port), (_who(peer, name, inbox(name)) for name in names), Tally())
        time.sleep(_SETTLE)
        used = process.memory_info().rss - before
    return Result(used / connections, None, None, clock.server, clock.load, clock.others)


# ---- what came out


class _Clock:
    """Wall time, and cores used by the broker, by the load generator, and by everything else."""

    elapsed = server = load = others = 0.0


@contextlib.contextmanager
def _clock(running: Running) -> Iterator[_Clock]:
    clock = _Clock()
    before, own, all_of_it, start = cpu_seconds(running.pid), time.process_time(), busy_seconds(), time.perf_counter()
    yield clock
    clock.elapsed = time.perf_counter() - start
    everything = (busy_seconds() - all_of_it) / clock.elapsed
    clock.server = (cpu_seconds(running.pid) - before) / clock.elapsed
    clock.load = (time.process_time() - own) / clock.elapsed
    clock.others = max(0.0, everything - clock.server - clock.load)


def _result(total: int, clock: _Clock, sent: Tally, got: Tally) -> Result:
    if sent.refused:
        raise RuntimeError(f"{sent.refused} messages were refused: this is no measurement")
    ack = (percentile(sent.latencies, 0.5), percentile(sent.latencies, 0.99)) if sent.latencies else None
    delivery = percentile(got.delays, 0.5), percentile(got.delays, 0.99)
    return Result(total / clock.elapsed, ack, delivery, clock.server, clock.load, clock.others)
