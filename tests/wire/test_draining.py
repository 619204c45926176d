"""A broker that is stopped: where its clients are sent, and who comes meanwhile (5.0 §4.11)."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from broker.settings import server_reference
from mqtt.packets import ConnAck, Disconnect
from tests.corpus import connect, packet, text
from tests.wire.conftest import Start

REFERENCE = "mqtt2.example:8883 파발.example"
PROPERTY = b"\x1c" + text(REFERENCE)


@pytest.fixture
def slow(monkeypatch: pytest.MonkeyPatch) -> None:
    """Time to look at the broker while it leaves."""
    monkeypatch.setenv("PABAL_BROKER_DRAIN_SECONDS", "3")


@pytest.mark.usefixtures("slow")
def test_with_a_reference_5_is_sent_to_another_server_and_3_1_1_is_closed(start: Start) -> None:
    with start(["--server-reference", REFERENCE]) as broker:
        five, small, four = broker.v5(), broker.v5(block=b"\x27\0\0\0\x20"), broker.v4()
        waiting, half = broker.wire(version=5), broker.wire(version=5)
        half.send(connect("half")[:5])
        os.kill(broker.pid, signal.SIGTERM)
        answer = five.packet()
        assert answer[2] == 0x9C
        assert PROPERTY in answer
        five.ended()
        small.expect(b"\xe0\x02\x9c\0")  # all of the reference, or nothing of it
        small.ended()
        four.ended()
        half.send(connect("half")[5:])
        waiting.send(connect("waiting"), packet(0x82, b"\0\x09\0" + text("#") + b"\0"))
        new = broker.wire(version=5)
        new.send(connect("new"))
        for wire in (half, waiting, new):
            answer = wire.packet()
            assert (answer[0], answer[2], answer[3]) == (0x20, 0, 0x9C)
            assert PROPERTY in answer
            wire.ended()
        old = broker.wire()
        old.send(connect("old", level=4))
        old.expect(b"\x20\x02\0\x03")
        old.ended()


@pytest.mark.usefixtures("slow")
def test_without_one_5_is_told_that_the_server_shuts_down_and_nobody_new_gets_in(start: Start) -> None:
    with start() as broker:
        five, waiting, old = broker.v5(), broker.wire(version=5), broker.wire()
        os.kill(broker.pid, signal.SIGTERM)
        answer = five.read()
        assert isinstance(answer, Disconnect)
        assert answer.reason == 0x8B
        assert set(answer.properties) == {"reason_string"}
        five.ended()
        waiting.send(connect("waiting"))
        refusal = waiting.read()
        assert isinstance(refusal, ConnAck)
        assert refusal.reason == 0x88
        assert "server_reference" not in refusal.properties
        waiting.ended()
        old.send(connect("old", level=4))
        old.expect(b"\x20\x02\0\x03")
        old.ended()
        with pytest.raises(ConnectionRefusedError):
            broker.wire()


def test_the_setting_does_the_same(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_BROKER_SERVER_REFERENCE", "[::1]:1883")
    with start() as broker:
        five = broker.v5()
        os.kill(broker.pid, signal.SIGTERM)
        assert b"\x1c" + text("[::1]:1883") in five.packet()


def test_the_option_goes_before_the_setting_and_what_is_no_server_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_BROKER_SERVER_REFERENCE", "good.example")
    argv = [sys.executable, "-m", "broker", "--open", "--bind=127.0.0.1:0", "--server-reference=http://a"]
    done = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert done.returncode == 2
    assert b"server reference" in done.stderr


@pytest.mark.parametrize("text", ["http://a", "a:b", "a:123456", "a\0b", "a,b", "-a", "x" * 1025])
def test_what_is_no_server_reference(text: str) -> None:
    with pytest.raises(ValueError, match="server reference"):
        server_reference(text)


@pytest.mark.parametrize("text", ["", "a", "a:1", "192.0.2.1:1883", "[2001:db8::1]:1883", "a.b-c:8883 파발.example"])
def test_what_is_one(text: str) -> None:
    assert server_reference(text) == text
