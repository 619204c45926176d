"""MQTT over WebSocket: the handshake and the frames (5.0 §6), on a socket of our own."""

from __future__ import annotations

import os
import socket

import pytest

from tests.corpus import connect, packet, text
from tests.wire.conftest import CONNACK4, PATIENCE, PING, PONG, Running

REQUEST = (
    "GET {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n{protocol}\r\n"
)
MQTT = "Sec-WebSocket-Protocol: mqtt\r\n"
BINARY, TEXT, CLOSE, CONTINUED = 0x82, 0x81, 0x88, 0x80


class WebSocket:
    """A WebSocket client that masks as it must and does nothing else of its own."""

    def __init__(self, broker: Running, *, path: str = "/mqtt", protocol: str = MQTT) -> None:
        self.sock = socket.create_connection(("127.0.0.1", broker.ws_port), timeout=PATIENCE)
        self.sock.sendall(REQUEST.format(path=path, protocol=protocol).encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            more = self.sock.recv(1)
            assert more, head
            head += more
        self.head = head.decode()

    def frame(self, payload: bytes, kind: int = BINARY) -> bytes:
        mask = os.urandom(4)
        if len(payload) < 126:
            size = bytes((0x80 | len(payload),))
        elif len(payload) < 65_536:
            size = b"\xfe" + len(payload).to_bytes(2, "big")
        else:
            size = b"\xff" + len(payload).to_bytes(8, "big")
        return bytes((kind,)) + size + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(payload))

    def send(self, *frames: bytes) -> None:
        self.sock.sendall(b"".join(frames))

    def receive(self) -> tuple[int, bytes]:
        """The next frame of the broker."""
        kind, size = self.take(2)
        assert size < 0x80, "a server does not mask"
        return kind, self.take(int.from_bytes(self.take(2), "big") if size == 126 else size)

    def take(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            assert more, "the broker closed the connection"
            data += more
        return data

    def stream(self, wanted: bytes) -> None:
        """This comes next, in whatever binary frames."""
        data = b""
        while len(data) < len(wanted):
            kind, payload = self.receive()
            assert kind == BINARY
            data += payload
        assert data == wanted

    def closed_with(self, code: int) -> None:
        kind, payload = self.receive()
        assert kind == CLOSE
        assert int.from_bytes(payload[:2], "big") == code
        assert self.sock.recv(10) == b""


def test_the_handshake_agrees_on_mqtt(broker: Running) -> None:
    web = WebSocket(broker)
    assert web.head.startswith("HTTP/1.1 101 ")
    assert "sec-websocket-protocol: mqtt\r\n" in web.head.lower()
    assert "sec-websocket-extensions" not in web.head.lower()
    web.send(web.frame(connect(broker.name(), level=4)))
    web.stream(CONNACK4)


@pytest.mark.parametrize("protocol", ["", "Sec-WebSocket-Protocol: mqttv3.1\r\n", "Sec-WebSocket-Protocol: chat\r\n"])
def test_without_the_subprotocol_there_is_no_connection(broker: Running, protocol: str) -> None:
    web = WebSocket(broker, protocol=protocol)
    assert web.head.startswith("HTTP/1.1 400 ")


@pytest.mark.parametrize("path", ["/", "/mqtt/", "/other", "/MQTT"])
def test_another_path_is_not_found(broker: Running, path: str) -> None:
    assert WebSocket(broker, path=path).head.startswith("HTTP/1.1 404 ")


def test_a_query_does_not_matter(broker: Running) -> None:
    assert WebSocket(broker, path="/mqtt?token=1").head.startswith("HTTP/1.1 101 ")


def test_what_is_no_websocket_request_is_refused(broker: Running) -> None:
    for request in (b"GET /mqtt HTTP/1.1\r\nHost: a\r\n\r\n", b"\x10\x0d\0\x04MQTT\x04\x02\0\0\0\x01c\r\n\r\n"):
        with socket.create_connection(("127.0.0.1", broker.ws_port), timeout=PATIENCE) as sock:
            sock.sendall(request)
            answer = b""
            while more := sock.recv(1000):
                answer += more
            assert not answer.startswith(b"HTTP/1.1 101")


def test_frames_and_packets_need_not_be_aligned(broker: Running) -> None:
    web = WebSocket(broker)
    hello = connect(broker.name(), level=4)
    web.send(web.frame(hello[:3]), web.frame(hello[3:] + PING + PING[:1]), web.frame(PING[1:]))
    web.stream(CONNACK4 + PONG + PONG)
    for byte in PING:
        web.send(web.frame(bytes((byte,))))
    web.stream(PONG)


def test_a_message_in_fragments(broker: Running) -> None:
    web = WebSocket(broker)
    hello = connect(broker.name(), level=4)
    web.send(web.frame(hello[:5], 0x02), web.frame(hello[5:9], 0x00), web.frame(hello[9:], CONTINUED))
    web.stream(CONNACK4)


def test_a_frame_may_come_byte_by_byte(broker: Running) -> None:
    web = WebSocket(broker)
    for byte in web.frame(connect(broker.name(), level=4)):
        web.send(bytes((byte,)))
    web.stream(CONNACK4)


def test_text_frames_are_not_taken_nor_what_comes_behind_them(broker: Running) -> None:
    web, listener, topic = WebSocket(broker), broker.v4(), broker.name()
    listener.send(b"\x82" + bytes((5 + len(topic),)) + b"\0\x01\0" + bytes((len(topic),)) + topic.encode() + b"\0")
    listener.packet()
    web.send(web.frame(connect(broker.name(), level=4)))
    web.stream(CONNACK4)
    publish = b"\x30" + bytes((2 + len(topic),)) + b"\0" + bytes((len(topic),)) + topic.encode()
    web.send(web.frame(PING, TEXT), web.frame(publish))
    web.closed_with(1003)
    listener.quiet()


def test_a_disconnect_closes_the_websocket(broker: Running) -> None:
    web = WebSocket(broker)
    web.send(web.frame(connect(broker.name(), level=4)))
    web.stream(CONNACK4)
    web.send(web.frame(b"\xe0\0"))
    web.closed_with(1000)


def test_a_protocol_error_of_mqtt_is_told_and_closes(broker: Running) -> None:
    web = WebSocket(broker)
    web.send(web.frame(connect(broker.name())))
    web.receive()
    web.send(web.frame(b"\0\0"))
    kind, payload = web.receive()
    assert kind == BINARY
    assert payload[:3:2] == b"\xe0\x81"
    web.closed_with(1000)


def test_a_close_frame_is_answered_and_leaves_the_will(broker: Running) -> None:
    web, listener, topic = WebSocket(broker), broker.v4(), broker.name()
    name = topic.encode()
    listener.send(b"\x82" + bytes((5 + len(name),)) + b"\0\x01\0" + bytes((len(name),)) + name + b"\0")
    listener.packet()
    will = b"\0" + bytes((len(name),)) + name + b"\0\x04gone"
    web.send(web.frame(connect(broker.name(), level=4, flags=6, rest=will)))
    web.stream(CONNACK4)
    web.send(web.frame((1001).to_bytes(2, "big"), CLOSE))
    web.closed_with(1001)
    listener.expect(b"\x30" + bytes((6 + len(name),)) + b"\0" + bytes((len(name),)) + name + b"gone")


def test_an_unmasked_frame_is_a_protocol_error(broker: Running) -> None:
    web, other = WebSocket(broker), broker.v4()
    web.send(b"\x82\x02" + PING)
    web.closed_with(1002)
    other.quiet()


def test_a_frame_larger_than_any_packet_is_refused(broker: Running) -> None:
    web = WebSocket(broker)
    web.send(b"\x82\xff" + (1 << 40).to_bytes(8, "big") + b"\0\0\0\0")
    web.closed_with(1009)


def test_messages_pass_between_tcp_and_websocket(broker: Running) -> None:
    web, listener, topic = WebSocket(broker), broker.v4(), broker.name()
    name = topic.encode()
    subscribe = b"\x82" + bytes((5 + len(name),)) + b"\0\x01\0" + bytes((len(name),)) + name + b"\0"
    web.send(web.frame(connect(broker.name(), level=4) + subscribe))
    web.stream(CONNACK4 + b"\x90\x03\0\x01\0")
    payload = bytes(range(256)) * 8
    publish = b"\x30" + bytes(((2 + len(name) + 2048) % 128 | 0x80, (2 + len(name) + 2048) // 128))
    publish += b"\0" + bytes((len(name),)) + name + payload
    listener.send(publish)
    web.stream(publish)


def test_a_frame_right_behind_that_of_the_connect_may_be_as_large_as_a_clients(broker: Running) -> None:
    web, large = WebSocket(broker), packet(0x30, text(broker.name()) + b"x" * 102_400)
    web.send(web.frame(connect(broker.name(), level=4)), web.frame(large), web.frame(PING))
    web.stream(CONNACK4 + PONG)


@pytest.mark.parametrize("first", [b"\x10", connect("c", level=4)[:-1], b"\x10\xff\x01" + connect("c", level=4)])
def test_a_stranger_who_has_not_sent_a_whole_connect_may_send_no_large_frame(broker: Running, first: bytes) -> None:
    web = WebSocket(broker)
    web.send(web.frame(first), web.frame(connect("c", level=4)[:3]), web.frame(b"x" * 102_400)[:100])
    kind, payload = web.receive()
    assert kind == CLOSE
    assert int.from_bytes(payload[:2], "big") == 1009
