"""Random conversations with our broker and with Mosquitto: the clients of both see the same, but for what stands in `DIFFERENCES`."""

from __future__ import annotations

import itertools
import os
import shutil
import socket
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from mqtt.codec import encode
from mqtt.packets import (
    ConnAck,
    Connect,
    Disconnect,
    Filter,
    Packet,
    PingReq,
    PingResp,
    Properties,
    PubAck,
    PubComp,
    Publish,
    PubRec,
    PubRel,
    SubAck,
    Subscribe,
    UnsubAck,
    Unsubscribe,
    Will,
)
from mqtt.reasons import Reason
from stack.ports import free_port
from tests.conftest import running, unavailable
from tests.wire.conftest import Running, Wire

DIFFERENCES = {
    "retained_order": "In which order retained messages of different topics come is nobody's promise: each topic is compared "
    "for itself, which is also how far the standard's order goes [MQTT-4.6.0-6].",
    "overlapping": "A message that matches several subscriptions of one client comes once from ours, with the highest QoS and every "
    "identifier, and once for each from Mosquitto: a server's choice [MQTT-3.3.4-2, -4]. Copies that come together are taken as one.",
    "shared_retained": "A new shared subscription gets nothing that is retained (5.0 §4.8.2). Mosquitto 2.0.11 sends it: the clients here "
    "ask for none (retain handling 2), and the 3.1.1 client, which can't ask, subscribes to no shared one.",
    "no_matching_pubrec": "Ours says 0x10 (no matching subscribers) in the PUBREC of MQTT 5 as it does in the PUBACK; Mosquitto "
    "2.0.11 says it in the PUBACK only, as it looks for subscribers at PUBREL. Either is allowed (5.0 §3.5.2.1).",
}
"""What differs, and why. Nothing else does: each entry names the place below where it is allowed for."""

VERSIONS = (5, 5, 4)
"""Of the clients of a conversation."""
EXAMPLES = 600
STEPS = 24
TRAVELS = ("payload_format_indicator", "content_type", "response_topic", "correlation_data", "user_property")


# ---- what is said


@dataclass(frozen=True)
class Step:
    """One thing that one client does."""

    kind: str
    client: int
    topic: str = ""
    qos: int = 0
    payload: bytes = b""
    retain: bool = False
    no_local: bool = False
    as_published: bool = False
    handling: int = 0
    identifier: int = 0
    properties: tuple[tuple[str, Any], ...] = ()
    clean: bool = False
    will: bool = False
    """Of a join: topic, payload, QoS, RETAIN and properties are its will's."""
    more: tuple[tuple[str, int], ...] = ()
    """Further filters, with their QoS, of the same SUBSCRIBE or UNSUBSCRIBE."""


CLIENTS = st.integers(0, len(VERSIONS) - 1)
TOPICS = st.sampled_from(["a", "a/b", "a/b/c", "b", "b/b", "한글/b"])
FILTERS = st.sampled_from(["a", "a/b", "+", "+/b", "a/#", "#", "a/+/c", "한글/+", "+/+/+", "a/b/#", "$share/g/b/#"])
QOS = st.integers(0, 2)
MORE = st.lists(
    st.tuples(st.sampled_from(["a/b", "b/+", "c", "한글/#"]), QOS), max_size=2, unique_by=lambda one: one[0]
).map(tuple)
PROPERTIES = st.sampled_from(
    [
        (),
        (("content_type", "text/plain"), ("payload_format_indicator", 1)),
        (("user_property", [("가", "나"), ("가", "다"), ("b", "")]),),
        (("response_topic", "answers"), ("correlation_data", b"\x00\xff")),
    ]
)
PUBLISHING = st.builds(
    Step,
    kind=st.just("publish"),
    client=CLIENTS,
    topic=TOPICS,
    qos=QOS,
    payload=st.sampled_from([b"", "안녕".encode(), b"x", b"y"]),
    retain=st.booleans(),
    properties=PROPERTIES,
)
SUBSCRIBING = st.builds(
    Step,
    kind=st.just("subscribe"),
    client=CLIENTS,
    topic=FILTERS,
    qos=QOS,
    no_local=st.booleans(),
    as_published=st.booleans(),
    handling=st.integers(0, 2),
    identifier=st.integers(0, 3),
    more=MORE,
)
JOINING = st.builds(
    Step,
    kind=st.just("join"),
    client=CLIENTS,
    clean=st.booleans(),
    will=st.booleans(),
    topic=TOPICS,
    qos=st.integers(0, 1),  # of QoS 2 nobody is there to wait until what is on its way is on disk
    payload=st.sampled_from([b"", "잘 있어".encode()]),
    retain=st.booleans(),
    properties=PROPERTIES,
)
OTHER = st.one_of(
    st.builds(Step, kind=st.just("unsubscribe"), client=CLIENTS, topic=FILTERS, more=MORE),
    st.builds(Step, kind=st.just("leave"), client=CLIENTS),
    st.builds(Step, kind=st.just("crash"), client=CLIENTS),
    JOINING,
)
CONVERSATIONS = st.lists(st.one_of(PUBLISHING, SUBSCRIBING, PUBLISHING, SUBSCRIBING, OTHER), min_size=2, max_size=STEPS)


# ---- who says it


@dataclass
class Client:
    """A client that acknowledges everything, and writes down what it is told."""

    port: int
    name: str
    version: int
    prefix: str
    wire: Wire | None = None
    seen: list[tuple[Any, ...]] = field(default_factory=list)
    _ids: Iterator[int] = field(default_factory=lambda: itertools.cycle(range(1, 60_000)))

    def join(self, *, clean: bool, will: Will | None = None) -> None:
        self.leave()
        self.wire = Wire(self.port, version=self.version)
        properties: Properties = {"session_expiry_interval": 60} if self.version == 5 else {}
        self.send(Connect(self.name, self.version, clean, 60, will=will, properties=properties))
        answer = self.wire.read()
        assert isinstance(answer, ConnAck)
        self.seen.append(("connack", answer.reason, answer.session_present))

    def leave(self, *, crash: bool = False) -> None:
        """Go; with a crash the will is due: MQTT 5 has a reason for that, 3.1.1 breaks the protocol."""
        if self.wire is not None:
            if crash and self.version == 4:
                self.wire.send(b"\0\0")
            else:
                self.send(Disconnect(Reason.DISCONNECT_WITH_WILL if crash else 0, {}))
            self.wire.ended()
            self.wire.close()
            self.wire = None

    def send(self, packet: Packet) -> None:
        assert self.wire is not None
        self.wire.send(encode(packet, self.version))

    def settle(self) -> bool:
        """Read all that has come, and answer it. Whether anything was answered, so that more may come."""
        if self.wire is None:
            return False
        answered = False
        self.send(PingReq())
        while not isinstance(packet := self.wire.read(), PingResp):
            answer = self._answer(packet)
            if answer is not None:
                self.send(answer)
                answered = True
        return answered

    def _answer(self, packet: Packet) -> Packet | None:
        match packet:
            case Publish():
                self.seen.append(self._message(packet))
                if packet.qos == 0:
                    return None
                return PubAck(packet.packet_id, 0, {}) if packet.qos == 1 else PubRec(packet.packet_id, 0, {})
            case PubRel():
                return PubComp(packet.packet_id, 0, {})
            case PubRec():
                # `no_matching_pubrec`
                reason = 0 if packet.reason == Reason.NO_MATCHING_SUBSCRIBERS else packet.reason
                self.seen.append(("pubrec", reason))
                return PubRel(packet.packet_id, 0, {}) if packet.reason < 0x80 else None
            case PubAck() | PubComp():
                self.seen.append((type(packet).__name__.lower(), packet.reason))
            case SubAck() | UnsubAck():
                self.seen.append((type(packet).__name__.lower(), *packet.reasons))
            case _:
                self.seen.append((type(packet).__name__.lower(),))
        return None

    def _message(self, packet: Publish) -> tuple[Any, ...]:
        carried: dict[str, Any] = dict(packet.properties)
        properties = tuple((name, carried[name]) for name in TRAVELS if name in carried)
        identifiers = tuple(sorted(set(carried.get("subscription_identifier", ()))))
        topic = packet.topic.removeprefix(f"{self.prefix}/")
        return ("message", topic, packet.payload, packet.qos, packet.retain, packet.dup, identifiers, properties)

    def act(self, step: Step) -> None:
        five = self.version == 5
        if step.kind == "join":
            self.join(clean=step.clean, will=self._will(step) if step.will else None)
        elif self.wire is None:
            return
        elif step.kind in ("leave", "crash"):
            self.leave(crash=step.kind == "crash")
        elif step.kind == "publish":
            properties: Any = dict(step.properties) if five else {}
            packet_id = next(self._ids) if step.qos else 0
            topic = f"{self.prefix}/{step.topic}"
            self.send(Publish(topic, step.payload, step.qos, step.retain, False, packet_id, properties))
        elif step.kind == "unsubscribe":
            more = [self._filter(text) for text, _ in step.more]
            self.send(Unsubscribe(next(self._ids), [self._filter(step.topic), *more], {}))
        else:
            self._subscribe(step)

    def _subscribe(self, step: Step) -> None:
        properties: Properties = {}
        options = Filter(self._filter(step.topic), step.qos)
        if self.version == 5:
            shared = step.topic.startswith("$share/")
            handling = 2 if shared else step.handling  # `shared_retained`
            no_local = step.no_local and not shared
            options = Filter(self._filter(step.topic), step.qos, no_local, step.as_published, handling)
            if step.identifier:
                properties = {"subscription_identifier": [step.identifier]}
        more = [Filter(self._filter(text), qos) for text, qos in step.more]
        self.send(Subscribe(next(self._ids), [options, *more], properties))

    def _will(self, step: Step) -> Will:
        properties: Any = dict(step.properties) if self.version == 5 else {}
        return Will(f"{self.prefix}/{step.topic}", step.payload, step.qos, step.retain, properties)

    def _filter(self, text: str) -> str:
        """Below the conversation's prefix; a shared one in a group of this client alone, as who of several gets it is a free choice."""
        if text.startswith("$share/g/"):
            text = text.removeprefix("$share/g/")
            return f"$share/{self.name}/{self.prefix}/{text}" if self.version == 5 else f"{self.prefix}/{text}"
        return f"{self.prefix}/{text}"


def _same(one: tuple[Any, ...], other: tuple[Any, ...]) -> bool:
    """Whether two events are copies of one message: each publish has a payload of its own, but those without any."""
    return (one[1], one[2], one[7]) == (other[1], other[2], other[7])


def _merged(one: tuple[Any, ...], other: tuple[Any, ...]) -> tuple[Any, ...]:
    _, topic, payload, qos, retain, dup, identifiers, properties = one
    both = tuple(sorted({*identifiers, *other[6]}))
    return ("message", topic, payload, max(qos, other[3]), retain or other[4], dup or other[5], both, properties)


def converse(port: int, prefix: str, steps: list[Step]) -> list[list[dict[str, list[tuple[Any, ...]]]]]:
    """What each client saw after each step."""
    clients = [Client(port, f"{prefix}-{number}", version, prefix) for number, version in enumerate(VERSIONS)]
    seen: list[list[dict[str, list[tuple[Any, ...]]]]] = []
    try:
        for client in clients:
            client.join(clean=True)
        for number, plain in enumerate(steps):
            step = replace(plain, payload=plain.payload and plain.payload + str(number).encode())
            clients[step.client].act(step)
            actor_first = sorted(clients, key=lambda client: client is not clients[step.client])
            while sum(client.settle() for client in actor_first):  # of all of them, not up to the first
                pass
            seen.append([_by_topic(client) for client in clients])
    finally:
        for client in clients:
            if client.wire is not None:
                client.wire.close()
    return seen


def _by_topic(client: Client) -> dict[str, list[tuple[Any, ...]]]:
    """What a client saw in one step, by topic (`retained_order`), copies of one message made one (`overlapping`)."""
    found: dict[str, list[tuple[Any, ...]]] = {}
    for event in client.seen:
        events = found.setdefault(str(event[1]) if event[0] == "message" else "", [])
        if event[0] == "message" and events and _same(events[-1], event):
            events.append(_merged(events.pop(), event))
        else:
            events.append(event)
    client.seen.clear()
    return found


# ---- with whom


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    program = shutil.which("mosquitto", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        unavailable("mosquitto is not installed")
    directory: Path = tmp_path_factory.mktemp("mosquitto")
    port = free_port()
    configuration = directory / "mosquitto.conf"
    configuration.write_text(
        f"listener {port} 127.0.0.1\nallow_anonymous true\npersistence false\nset_tcp_nodelay true\n"
        "allow_duplicate_messages true\n"  # `overlapping`, for 3.1.1 too
    )

    def ready() -> str | None:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
        except OSError as error:
            return str(error)
        return None

    with running([program, "-c", str(configuration)], directory / "mosquitto.log", ready=ready):
        yield port


PREFIXES = itertools.count()


def test_the_clients_of_both_brokers_see_the_same(mosquitto: int, shared_broker: Running) -> None:
    @settings(
        max_examples=EXAMPLES,
        deadline=None,
        derandomize=True,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=(Phase.generate, Phase.shrink),
    )
    @given(CONVERSATIONS)
    def compare(steps: list[Step]) -> None:
        prefix = f"d{next(PREFIXES)}"
        ours, theirs = converse(shared_broker.port, prefix, steps), converse(mosquitto, prefix, steps)
        for step, our_clients, their_clients in zip(steps, ours, theirs, strict=True):
            for number, (our, their) in enumerate(zip(our_clients, their_clients, strict=True)):
                assert our == their, f"client {number} after {step}"

    compare()
