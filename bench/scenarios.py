"""What the broker comparison measures: one row of the report each. `bench.measure` does them."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.accounts import PAIRS

SIZE = 1024
"""Bytes of payload."""

GATHER = 0.0005
"""Seconds in which answers gather before they are read, where much is under way: see `bench.load.Engine.pause`."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """Publishers, each with a topic of its own, and those who subscribe to them.

    Attributes:
        title: of the row.
        share: so many services share one subscription to all topics; 0: each topic has its subscriber.
        window: messages of one publisher under way: unanswered for QoS 1 and 2, undelivered for QoS 0.
        others: filters of somebody else that match nothing.
        wildcards: whether those have wildcards.
        keep: subscribers' sessions outlive their connection.
        messages: for all publishers together; a broker that is known to be slow gets `few`.
    """

    title: str
    version: int = 4
    qos: int = 1
    window: int = 20
    share: int = 0
    others: int = 0
    wildcards: bool = False
    websocket: bool = False
    keep: bool = False
    messages: int = 200_000
    few: int = 10_000

    unit = "messages/s"

    @property
    def v5(self) -> bool:
        """Whether a broker must speak MQTT 5."""
        return self.version == 5


@dataclass(frozen=True, slots=True)
class FanOut:
    """One publisher to everybody in a chat; at most `window` messages that not all have received."""

    title: str
    receivers: int
    window: int = 20
    messages: int = 1_000
    few: int = 100

    unit = "deliveries/s"
    v5 = False
    keep = False


@dataclass(frozen=True, slots=True)
class Idle:
    """Memory of connections that are signed in, subscribed, and silent."""

    connections: int
    few: int = 2_000

    unit = "bytes per connection"
    v5 = False
    keep = False

    @property
    def title(self) -> str:
        """Of the row."""
        return f"memory of {self.connections:,} idle connections"


@dataclass(frozen=True, slots=True)
class Connects:
    """From the socket to CONNACK, some at a time, each another user."""

    connections: int
    few: int = 1_000

    unit = "connects/s"
    v5 = False
    keep = False

    @property
    def title(self) -> str:
        """Of the row."""
        return f"connect with login, {self.connections:,} times"


Scenario = Pairs | FanOut | Idle | Connects


BASE = "pairs"
"""What the filters are compared with: they follow it, so that both are measured within seconds."""

PLAIN = Pairs("QoS 1, v3.1.1, window 20")

SCENARIOS: dict[str, Scenario] = {
    BASE: PLAIN,
    "exact": Pairs("beside 10,000 other filters", others=10_000, few=2_000),
    "wildcards": Pairs("beside 10,000 other wildcards", others=10_000, wildcards=True, few=1_000),
    "v5": Pairs("QoS 1, v5, window 20", version=5),
    "window1": Pairs("QoS 1, window 1", window=1, messages=60_000, few=6_000),
    "qos0": Pairs("QoS 0, 20 undelivered", qos=0),
    "qos2": Pairs("QoS 2, window 20", qos=2, messages=100_000, few=5_000),
    "shared": Pairs("QoS 1, v5, shared group of 4", version=5, share=4),
    "websocket": Pairs("QoS 1 over WebSocket", websocket=True, messages=100_000, few=5_000),
    "kept": Pairs("QoS 1, sessions kept", keep=True),
    "fanout500": FanOut("fan-out 1 to 500", 500),
    "fanout5000": FanOut("fan-out 1 to 5,000", 5_000, window=4, messages=100, few=5),
    "connects": Connects(3_000),
    "idle": Idle(10_000),
}


def shortened(scenario: Scenario) -> Scenario:
    """The same with less to do, for `--quick`."""
    match scenario:
        case Pairs():
            return replace(scenario, messages=scenario.messages // 4, few=scenario.few // 5)
        case FanOut():
            return replace(scenario, messages=scenario.messages // 4, few=max(1, scenario.few // 5))
        case Idle() | Connects():
            return replace(scenario, connections=scenario.connections // 5, few=scenario.few // 5)


def users(scenarios: list[Scenario]) -> int:
    """How many of the many users they need."""
    found = [0]
    for scenario in scenarios:
        match scenario:
            case FanOut():
                found.append(scenario.receivers)
            case Idle() | Connects():
                found.append(scenario.connections)
            case Pairs():
                found.append(PAIRS)
    return max(found)
