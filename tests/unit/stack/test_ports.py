from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator

import psutil
import pytest

from stack import ports
from stack.ports import Address, BadPortBase


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        yield server.getsockname()[1]


def test_a_port_base_gives_all_ports_in_the_order_of_the_table() -> None:
    assert ports.shifted(21000) == {
        "mqtt": 21000,
        "ws": 21001,
        "api": 21002,
        "broker_http": 21003,
        "bridge_http": 21004,
        "worker_http": 21005,
        "mongo": 21006,
        "valkey": 21007,
        "fcm": 21008,
        "mqtts": 21009,
        "wss": 21010,
        "mongo1": 21011,
        "mongo2": 21012,
    }


def test_the_defaults_are_those_of_the_documentation() -> None:
    assert {port.name: port.default for port in ports.TABLE} == {
        "mqtt": 1883,
        "ws": 8083,
        "api": 8080,
        "broker_http": 9101,
        "bridge_http": 9102,
        "worker_http": 9103,
        "mongo": 27117,
        "valkey": 6479,
        "fcm": 8099,
        "mqtts": 8883,
        "wss": 8084,
        "mongo1": 27118,
        "mongo2": 27119,
    }
    documented = [line.split("|")[1].strip() for line in (ports.__doc__ or "").splitlines() if line.startswith("| ")]
    assert documented[1:] == [port.name for port in ports.TABLE], "the table in the docstring is the one in the code"


@pytest.mark.parametrize("base", [0, 1023, 65524, 70000, -1])
def test_a_port_base_without_room_is_refused(base: int) -> None:
    with pytest.raises(BadPortBase, match="1024 to 65523"):
        ports.shifted(base)


def test_the_highest_port_base_fits() -> None:
    assert max(ports.shifted(65523).values()) == 65535


@pytest.mark.parametrize(
    ("text", "host", "port"),
    [("127.0.0.1:1883", "127.0.0.1", 1883), ("[::1]:80", "::1", 80), ("localhost:65535", "localhost", 65535)],
)
def test_an_address_is_read_and_written_back(text: str, host: str, port: int) -> None:
    address = Address.parse(text)
    assert (address.host, address.port, str(address)) == (host, port, text)


@pytest.mark.parametrize(
    "text", ["", "1883", ":1883", "host:", "host:0", "host:65536", "host:x", "host:-1", "host:\uff11"]
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="host:port"):
        Address.parse(text)


def test_everywhere_is_reached_over_loopback() -> None:
    assert str(Address("0.0.0.0", 1).reachable) == "127.0.0.1:1"
    assert str(Address("::", 1).reachable) == "[::1]:1"
    assert str(Address("192.0.2.7", 1).reachable) == "192.0.2.7:1"


@pytest.mark.parametrize(("host", "expected"), [("127.0.0.1", True), ("::1", True), ("localhost", True), ("0.0.0.0", False), ("192.0.2.7", False), ("pabal.example", False)])  # fmt: skip
def test_loopback_is_recognised(host: str, expected: bool) -> None:
    assert Address(host, 1).is_loopback is expected


def test_a_busy_port_names_its_user_and_how_to_change_it(listening: int) -> None:
    addresses = {"mqtt": Address("127.0.0.1", listening)}
    (busy,) = ports.busy(addresses, {"mqtt"})
    said = str(busy)
    assert f"port {listening} (MQTT over TCP) is in use" in said
    assert f"{psutil.Process().name()} (pid {os.getpid()})" in said
    assert "PABAL_BROKER_TCP=host:port" in said
    assert "--port-base" in said


def test_a_port_that_this_stack_does_not_want_may_be_busy(listening: int) -> None:
    assert ports.busy({"fcm": Address("127.0.0.1", listening)}, set()) == []


def test_a_port_whose_last_connection_has_just_ended_is_free() -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            server.accept()[0].close()  # the side that closes first keeps TIME_WAIT
    assert ports.can_bind(Address("127.0.0.1", port))


def test_a_free_port_can_be_bound(free_port: Callable[[], int]) -> None:
    assert ports.can_bind(Address("127.0.0.1", free_port()))


def test_a_free_port_base_has_room_for_all() -> None:
    base = ports.free_port_base()
    assert all(ports.can_bind(Address("127.0.0.1", port)) for port in ports.shifted(base).values())
