"""The ports of a stack: one table, `--port-base`, and what to say when one is busy.

| name | default | with `--port-base B` | setting |
|---|---|---|---|
| mqtt | 1883 | B+0 | PABAL_BROKER_TCP |
| ws | 8083 | B+1 | PABAL_BROKER_WS |
| api | 8080 | B+2 | PABAL_API_BIND |
| broker_http | 9101 | B+3 | PABAL_BROKER_HTTP |
| bridge_http | 9102 | B+4 | PABAL_BRIDGE_HTTP |
| worker_http | 9103 | B+5 | PABAL_WORKER_HTTP |
| mongo | 27117 | B+6 | PABAL_MONGO_BIND |
| valkey | 6479 | B+7 | PABAL_VALKEY_BIND |
| fcm | 8099 | B+8 | PABAL_FCM_BIND |
| mqtts | 8883 | B+9 | PABAL_BROKER_TLS |
| wss | 8084 | B+10 | PABAL_BROKER_WSS |
| mongo1 | 27118 | B+11 | PABAL_MONGO1_BIND |
| mongo2 | 27119 | B+12 | PABAL_MONGO2_BIND |

mqtts and wss are taken only by a stack that has a certificate (PABAL_BROKER_TLS_CERT).
"""

from __future__ import annotations

import ipaddress
import itertools
import secrets
import socket
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import psutil


@dataclass(frozen=True, slots=True)
class Port:
    """One row: who listens, where by default, and the environment variable (`host:port`) that changes it."""

    name: str
    default: int
    setting: str
    what: str


TABLE = (
    Port("mqtt", 1883, "PABAL_BROKER_TCP", "MQTT over TCP"),
    Port("ws", 8083, "PABAL_BROKER_WS", "MQTT over WebSocket, path /mqtt"),
    Port("api", 8080, "PABAL_API_BIND", "REST API"),
    Port("broker_http", 9101, "PABAL_BROKER_HTTP", "metrics and health of the broker"),
    Port("bridge_http", 9102, "PABAL_BRIDGE_HTTP", "metrics and health of the bridge"),
    Port("worker_http", 9103, "PABAL_WORKER_HTTP", "metrics and health of the worker"),
    Port("mongo", 27117, "PABAL_MONGO_BIND", "mongod"),
    Port("valkey", 6479, "PABAL_VALKEY_BIND", "Valkey"),
    Port("fcm", 8099, "PABAL_FCM_BIND", "FCM emulator"),
    Port("mqtts", 8883, "PABAL_BROKER_TLS", "MQTT over TLS"),
    Port("wss", 8084, "PABAL_BROKER_WSS", "MQTT over secure WebSocket, path /mqtt"),
    Port("mongo1", 27118, "PABAL_MONGO1_BIND", "the second mongod of three"),
    Port("mongo2", 27119, "PABAL_MONGO2_BIND", "the third mongod of three"),
)

LAST_PORT = 65_535

_SINGLE, _BASES = range(10_000, 20_000), range(20_000, 32_000, len(TABLE))
"""Where ports are looked for that only have to be free."""


@dataclass(frozen=True, slots=True)
class Address:
    """A host and a port to bind or to connect to."""

    host: str
    port: int

    @classmethod
    def parse(cls, text: str) -> Address:
        """Read `host:port` (`[::1]:1883` for IPv6).

        Raises:
            ValueError: no host, or no port of 1 to 65535.
        """
        host, _, port = text.rpartition(":")
        if not host or not (port.isascii() and port.isdecimal()) or not 1 <= int(port) <= LAST_PORT:
            raise ValueError(f"an address is host:port, such as 127.0.0.1:1883, not {text!r}")
        return cls(host.strip("[]"), int(port))

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"

    @property
    def is_loopback(self) -> bool:
        """Whether only this machine can reach it."""
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host == "localhost"

    @property
    def reachable(self) -> Address:
        """The same for a client on this machine: an address that means "all" is reached over loopback."""
        loopback = {"0.0.0.0": "127.0.0.1", "::": "::1"}
        return Address(loopback.get(self.host, self.host), self.port)


class BadPortBase(ValueError):
    """A `--port-base` whose ports don't exist."""


def shifted(base: int) -> dict[str, int]:
    """Port per name for `--port-base`.

    Raises:
        BadPortBase: below 1024 (needs root), or the last one would be past 65535.
    """
    highest = LAST_PORT - len(TABLE) + 1
    if not 1024 <= base <= highest:
        raise BadPortBase(
            f"--port-base is 1024 to {highest} (the stack takes {len(TABLE)} ports from there), not {base}"
        )
    return {port.name: base + offset for offset, port in enumerate(TABLE)}


@dataclass(frozen=True, slots=True)
class Busy:
    """A port that somebody else listens on. `user` is `name (pid N)`, None when the system does not tell us."""

    port: Port
    address: Address
    user: str | None

    def __str__(self) -> str:
        by = f"by {self.user}" if self.user else "by another program (the system does not tell us which)"
        return (
            f"port {self.address.port} ({self.port.what}) is in use {by}: end that, "
            f"set {self.port.setting}=host:port, or shift all ports with --port-base N"
        )


def busy(addresses: Mapping[str, Address], wanted: Iterable[str]) -> list[Busy]:
    """Which of the `wanted` names can't be bound now, and who is to blame."""
    found = []
    for port in TABLE:
        if port.name in wanted and not can_bind(addresses[port.name]):
            address = addresses[port.name]
            found.append(Busy(port, address, listener(address.port)))
    return found


def can_bind(address: Address) -> bool:
    """Whether we could listen there; a port that is merely in TIME_WAIT counts as free."""
    try:
        family, kind, proto, _, where = socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, proto) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(where)
            probe.listen(1)
    except OSError:
        return False
    return True


def listener(port: int) -> str | None:
    """`name (pid N)` of the process that listens on `port`; None when it belongs to somebody else and we aren't root."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:  # macOS, unless root
        return None
    for connection in connections:
        here = connection.laddr and connection.laddr.port == port
        if here and connection.pid and connection.status == psutil.CONN_LISTEN:
            try:
                return f"{psutil.Process(connection.pid).name()} (pid {connection.pid})"
            except psutil.NoSuchProcess:
                return None
    return None


def free_port() -> int:
    """A TCP port on loopback that nobody uses now. Another program may take it before you do, but no outgoing connection does: it is
    below the range that the system hands to those. The first try is a random one, so that two that ask at once rarely get the same.
    """
    start = secrets.randbelow(len(_SINGLE))
    for port in itertools.chain(_SINGLE[start:], _SINGLE[:start]):
        if can_bind(Address("127.0.0.1", port)):
            return port
    raise RuntimeError(f"no free port between {_SINGLE.start} and {_SINGLE.stop}")


def free_port_base() -> int:
    """A `--port-base` whose ports are all free now; as `free_port`, in a range of its own."""
    start = secrets.randbelow(len(_BASES))
    for base in itertools.chain(_BASES[start:], _BASES[:start]):
        if all(can_bind(Address("127.0.0.1", port)) for port in shifted(base).values()):
            return base
    raise RuntimeError("no free range of ports between 20000 and 32000")
