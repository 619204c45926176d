"""Coming and going: CONNECT in all its forms, keep alive, take-over, DISCONNECT."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from mqtt.packets import ConnAck, Disconnect
from tests.corpus import FIRST, LATER, Malformed, connect, packet, text
from tests.wire.conftest import CONNACK4, CONNACK4_PRESENT, CONNACK5, PING, PONG, Running, Start


def test_3_1_1(broker: Running) -> None:
    wire = broker.wire()
    wire.send(connect(broker.name(), level=4))
    wire.expect(CONNACK4)
    wire.quiet()


def test_5_and_what_the_connack_promises(broker: Running) -> None:
    wire = broker.wire()
    wire.send(connect(broker.name()))
    wire.expect(CONNACK5)
    wire.quiet()


def test_5_with_a_keep_alive_of_its_own_is_told_none(broker: Running) -> None:
    wire = broker.wire(version=5)
    wire.send(connect(broker.name(), keep_alive=60))
    answer = wire.read()
    assert isinstance(answer, ConnAck)
    assert "server_keep_alive" not in answer.properties


def test_5_is_told_its_assigned_client_id_and_can_come_back_with_it(broker: Running) -> None:
    wire = broker.wire(version=5)
    wire.send(connect("", flags=0, block=b"\x11\0\0\0\x3c"))
    answer = wire.read()
    assert isinstance(answer, ConnAck)
    name = answer.properties["assigned_client_identifier"]
    wire.close()
    again = broker.wire(version=5)
    again.send(connect(name, flags=0, block=b"\x11\0\0\0\x3c"))
    answer = again.read()
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    assert "assigned_client_identifier" not in answer.properties


def test_two_clients_without_an_id_are_two_clients(broker: Running) -> None:
    one, other = broker.wire(), broker.wire()
    for wire in (one, other):
        wire.send(connect("", level=4))
        wire.expect(CONNACK4)
    one.quiet()
    other.quiet()


def test_3_1_1_without_an_id_may_not_keep_a_session(broker: Running) -> None:
    wire = broker.wire()
    wire.send(connect("", level=4, flags=0))
    wire.expect(b"\x20\x02\x00\x02")
    wire.ended()


def test_a_session_longer_than_the_limit_is_shortened_and_the_client_told(broker: Running) -> None:
    wire = broker.wire(version=5)
    wire.send(connect(broker.name(), block=b"\x11\xff\xff\xff\xff"))
    answer = wire.read()
    assert isinstance(answer, ConnAck)
    assert answer.properties["session_expiry_interval"] == 7 * 86_400


def test_enhanced_authentication_is_refused(broker: Running) -> None:
    wire = broker.wire(version=5)
    wire.send(connect(broker.name(), block=b"\x15\0\x05SCRAM"))
    answer = wire.read()
    assert isinstance(answer, ConnAck)
    assert answer.reason == 0x8C
    wire.ended()


@pytest.mark.parametrize("case", FIRST, ids=lambda case: case.name)
def test_what_may_not_come_first_ends_the_connection_and_no_other(broker: Running, case: Malformed) -> None:
    other = broker.v4()
    wire = broker.wire()
    wire.send(case.wire)
    if case.reason == 0x84:
        wire.expect(b"\x20\x02\x00\x01")
    elif b"MQTT\x05" in case.wire:  # 5 may be told, 3.1.1 has no code for it
        answer = wire.packet()
        assert (answer[0], answer[2], answer[3]) == (0x20, 0, case.reason)
    wire.ended()
    other.quiet()


@pytest.mark.parametrize("case", LATER, ids=lambda case: f"{case.version}: {case.name}")
def test_a_malformed_packet_ends_the_connection_with_its_reason_and_no_other(broker: Running, case: Malformed) -> None:
    other = broker.v5()
    wire = broker.v4() if case.version == 4 else broker.v5()
    wire.send(PING, case.wire, PING)
    wire.expect(PONG)
    if case.version == 5:
        answer = wire.read()
        assert isinstance(answer, Disconnect)
        assert answer.reason == case.reason
    wire.ended()
    other.quiet()


@pytest.mark.parametrize("version", [4, 5])
def test_a_second_connect(broker: Running, version: int) -> None:
    wire = broker.v4() if version == 4 else broker.v5()
    wire.send(connect("c", level=version))
    if version == 5:
        assert wire.packet()[:3][2] == 0x82
    wire.ended()


@pytest.mark.parametrize("kind", [b"\xd0\0", b"\x20\x03\0\0\0", b"\x90\x04\0\x01\0\0"])
def test_packets_that_are_not_for_a_server(broker: Running, kind: bytes) -> None:
    wire = broker.v5()
    wire.send(kind)
    assert wire.packet()[0] == 0xE0
    wire.ended()


def test_auth_out_of_the_blue(broker: Running) -> None:
    wire = broker.v5()
    wire.send(b"\xf0\0")
    assert wire.packet()[2] == 0x82
    wire.ended()


# ---- time


def test_a_silent_client_is_told_and_closed_and_one_that_pings_stays(broker: Running) -> None:
    silent, lively = broker.wire(version=5), broker.wire()
    silent.send(connect(broker.name(), keep_alive=1))
    silent.packet()
    lively.send(connect(broker.name(), level=4, keep_alive=1))
    lively.expect(CONNACK4)
    silent.sock.settimeout(0.5)
    for _ in range(30):
        lively.quiet()
        try:
            answer = silent.packet()
        except TimeoutError:
            continue
        assert answer[0] == 0xE0
        assert answer[2] == 0x8D
        silent.ended()
        lively.quiet()
        return
    pytest.fail("the silent client was not closed")


def test_who_never_connects_is_closed(start: Start) -> None:
    with start(connect_timeout=0.2) as broker:
        nothing, half = broker.wire(), broker.wire()
        half.send(connect("c")[:5])
        nothing.ended()
        half.ended()


# ---- take-over and sessions


@pytest.mark.parametrize("version", [4, 5])
def test_the_second_connection_with_a_client_id_takes_over(broker: Running, version: int) -> None:
    name = broker.name()
    first = broker.v4(name) if version == 4 else broker.v5(name)
    second = broker.v4(name)
    if version == 5:
        answer = first.read()
        assert isinstance(answer, Disconnect)
        assert answer.reason == 0x8E
    first.ended()
    second.quiet()


def test_a_kept_session_is_there_and_a_clean_start_ends_it(broker: Running) -> None:
    name = broker.name()
    broker.v4(name, clean=False).send(b"\xe0\0")
    again = broker.wire()
    again.send(connect(name, level=4, flags=0))
    again.expect(CONNACK4_PRESENT)
    again.send(b"\xe0\0")
    again.ended()
    clean = broker.v4(name)  # expects session present 0
    clean.send(b"\xe0\0")
    clean.ended()
    broker.v4(name, clean=False)


def test_a_session_of_5_ends_with_its_connection_unless_told_otherwise(broker: Running) -> None:
    name = broker.name()
    wire = broker.v5(name, clean=False)
    wire.send(b"\xe0\0")
    wire.ended()
    again = broker.v5(name, clean=False, block=b"\x11\0\0\0\x3c")
    again.send(b"\xe0\0")
    again.ended()
    third = broker.wire(version=5)
    third.send(connect(name, flags=0, block=b"\x11\0\0\0\x3c"))
    answer = third.read()
    assert isinstance(answer, ConnAck)
    assert answer.session_present
    third.send(b"\xe0\x07\0\x05\x11\0\0\0\0")  # DISCONNECT: the session ends now
    third.ended()
    fourth = broker.wire(version=5)
    fourth.send(connect(name, flags=0))
    answer = fourth.read()
    assert isinstance(answer, ConnAck)
    assert not answer.session_present


def test_a_session_that_was_to_end_can_not_be_prolonged_at_the_end(broker: Running) -> None:
    wire = broker.v5()
    wire.send(b"\xe0\x07\0\x05\x11\0\0\0\x3c")
    assert wire.packet()[2] == 0x82
    wire.ended()


def test_a_session_expires(broker: Running) -> None:
    name = broker.name()
    for patience in (0, 2, 4, 8):  # each return starts its time anew
        time.sleep(patience)
        wire = broker.wire(version=5)
        wire.send(connect(name, flags=0, block=b"\x11\0\0\0\x01"))
        answer = wire.read()
        assert isinstance(answer, ConnAck)
        if patience and not answer.session_present:
            return
        wire.send(b"\xe0\0")
        wire.ended()
    pytest.fail("the session outlived its time")


def test_nothing_is_read_behind_disconnect(broker: Running) -> None:
    listener = broker.v4()
    listener.send(b"\x82\x0a\0\x01\0\x05after\0")
    listener.expect(b"\x90\x03\0\x01\x00")
    wire = broker.v4()
    wire.send(b"\xe0\0", b"\x30\x07\0\x05after")
    wire.ended()
    listener.quiet()


# ---- framing on a real socket


def test_a_connect_may_come_byte_by_byte_with_what_follows(broker: Running) -> None:
    wire = broker.wire()
    for byte in connect(broker.name(), level=4) + PING + PING:
        wire.send(bytes((byte,)))
    wire.expect(CONNACK4, PONG, PONG)


def test_packets_that_come_with_the_connect_are_handled_in_order_after_it(broker: Running) -> None:
    wire, topic = broker.wire(), broker.name()
    subscribe = b"\x82" + bytes((5 + len(topic),)) + b"\0\x01" + text(topic) + b"\0"
    publish = b"\x30" + bytes((3 + len(topic),)) + text(topic) + b"x"
    wire.send(connect(broker.name(), level=4), subscribe, publish, PING)
    wire.expect(CONNACK4, b"\x90\x03\0\x01\x00", publish, PONG)


@pytest.mark.parametrize("version", [4, 5])
def test_what_comes_with_the_connect_is_judged_by_the_limits_of_who_is_let_in(broker: Running, version: int) -> None:
    """[MQTT-3.1.4-5]: a client need not wait for its CONNACK, however large the next packet is."""
    wire, topic = broker.wire(version=version), broker.name()
    block = b"\0" if version == 5 else b""
    subscribe = packet(0x82, b"\0\x01" + block + text(topic) + b"\0")
    large = packet(0x32, text(topic) + b"\0\x02" + block + b"x" * 102_400)
    wire.send(connect(broker.name(), level=version), subscribe, large, PING)
    assert wire.packet()[:1] == b"\x20"
    assert wire.packet()[:1] == b"\x90"
    answers = [wire.packet() for _ in range(3)]
    assert sorted(answer[0] for answer in answers) == [0x30, 0x40, 0xD0]
    assert answers[-1] == PONG
    (delivered,) = (answer for answer in answers if answer[0] == 0x30)
    assert delivered.endswith(b"x" * 102_400)


def test_with_the_connect_a_packet_that_is_too_large_for_a_client_is_too_large(broker: Running) -> None:
    wire = broker.wire(version=5)
    wire.send(connect(broker.name()), b"\x30\xff\xff\xff\x7f")
    assert wire.packet()[3] == 0
    assert wire.packet()[2] == 0x95
    wire.ended()


def test_a_packet_that_claims_too_much_is_refused_from_its_header(broker: Running) -> None:
    wire = broker.v5()
    wire.send(b"\x30\xff\xff\xff\x7f")
    assert wire.packet()[2] == 0x95
    wire.ended()


def test_a_stranger_gets_less_memory_than_a_client(broker: Running) -> None:
    wire = broker.wire()
    wire.send(b"\x10\x81\x80\x04")  # 65,537 bytes
    wire.ended()


def test_an_open_broker_listens_on_loopback_only() -> None:
    for bind in ("--bind=0.0.0.0:20999", "--bind-ws=192.0.2.1:20999"):
        done = subprocess.run(
            [sys.executable, "-m", "broker", "--open", bind], capture_output=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert b"loopback" in done.stderr
