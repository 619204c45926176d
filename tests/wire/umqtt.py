"""A client with the API of MicroPython's `umqtt.simple`, and its manners on the wire: MQTT 3.1.1, QoS 0 and 1, one packet at a
time, every part of a packet in a write of its own, read byte by byte, and nothing that is not needed.
"""

from __future__ import annotations

import socket
from collections.abc import Callable


class MQTTException(Exception):
    """The broker's no, as its return code."""


class MQTTClient:
    """What a program on a microcontroller uses; its socket blocks."""

    def __init__(
        self,
        client_id: bytes,
        server: str,
        port: int = 1883,
        user: bytes | None = None,
        password: bytes | None = None,
        keepalive: int = 0,
    ) -> None:
        self.client_id, self.server, self.port = client_id, server, port
        self.user, self.password, self.keepalive = user, password, keepalive
        self.sock = socket.socket()
        self._callback: Callable[[bytes, bytes], None] = lambda _topic, _message: None
        self._will: tuple[bytes, bytes, bool, int] | None = None
        self._packet_id = 0

    def set_callback(self, callback: Callable[[bytes, bytes], None]) -> None:
        self._callback = callback

    def set_last_will(self, topic: bytes, message: bytes, retain: bool = False, qos: int = 0) -> None:
        self._will = (topic, message, retain, qos)

    def connect(self, clean_session: bool = True, timeout: float | None = None) -> bool:
        """Whether the broker still knew the session."""
        self.sock = socket.create_connection((self.server, self.port), timeout=timeout)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        flags, fields = clean_session << 1, [self.client_id]
        if self._will is not None:
            topic, message, retain, qos = self._will
            flags |= 4 | qos << 3 | retain << 5
            fields += [topic, message]
        if self.user is not None:
            flags |= 0xC0
            fields += [self.user, self.password or b""]
        head = b"\x00\x04MQTT\x04" + bytes((flags,)) + self.keepalive.to_bytes(2, "big")
        self._head(0x10, len(head) + sum(2 + len(each) for each in fields))
        self._write(head)
        for each in fields:
            self._string(each)
        answer = self._read(4)
        if answer[:2] != b"\x20\x02" or answer[3]:
            raise MQTTException(answer[3])
        return bool(answer[2] & 1)

    def disconnect(self) -> None:
        self._write(b"\xe0\x00")
        self.sock.close()

    def ping(self) -> None:
        """Its answer is swallowed by the next `wait_msg`."""
        self._write(b"\xc0\x00")

    def publish(self, topic: bytes, message: bytes, retain: bool = False, qos: int = 0) -> None:
        """With QoS 1, wait for the PUBACK; what comes before it goes to the callback."""
        self._head(0x30 | qos << 1 | retain, 2 + len(topic) + (2 if qos else 0) + len(message))
        self._string(topic)
        if qos:
            self._packet_id += 1
            self._write(self._packet_id.to_bytes(2, "big"))
        self._write(message)
        while qos:
            if self.wait_msg() == 0x40:
                assert self._read(1) == b"\x02"
                if int.from_bytes(self._read(2), "big") == self._packet_id:
                    return

    def subscribe(self, topic: bytes, qos: int = 0) -> None:
        self._packet_id += 1
        self._head(0x82, 2 + 2 + len(topic) + 1)
        self._write(self._packet_id.to_bytes(2, "big"))
        self._string(topic)
        self._write(bytes((qos,)))
        while self.wait_msg() != 0x90:
            pass
        answer = self._read(4)
        assert answer[:3] == b"\x03" + self._packet_id.to_bytes(2, "big")
        if answer[3] == 0x80:
            raise MQTTException(answer[3])

    def wait_msg(self) -> int | None:
        """Handle one packet: a PUBLISH or PINGRESP wholly (None), of any other only its first byte is read and returned."""
        first = self._read(1)[0]
        if first == 0xD0:
            assert self._read(1) == b"\x00"
            return None
        if first & 0xF0 != 0x30:
            return first
        size = self._length()
        topic = self._read(int.from_bytes(self._read(2), "big"))
        size -= 2 + len(topic)
        packet_id = b""
        if first & 6:
            packet_id = self._read(2)
            size -= 2
        self._callback(topic, self._read(size))
        if first & 6 == 2:
            self._write(b"\x40\x02")
            self._write(packet_id)
        return None

    def check_msg(self) -> int | None:
        """As `wait_msg`, if anything is there."""
        self.sock.setblocking(False)
        try:
            self.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return None
        finally:
            self.sock.setblocking(True)
        return self.wait_msg()

    # ---- the wire

    def _head(self, first: int, size: int) -> None:
        head = bytearray((first,))
        while size > 0x7F:
            head.append(size & 0x7F | 0x80)
            size >>= 7
        head.append(size)
        self._write(bytes(head))

    def _string(self, data: bytes) -> None:
        self._write(len(data).to_bytes(2, "big"))
        self._write(data)

    def _write(self, data: bytes) -> None:
        self.sock.sendall(data)

    def _length(self) -> int:
        size = shift = 0
        while True:
            byte = self._read(1)[0]
            size |= (byte & 0x7F) << shift
            if not byte & 0x80:
                return size
            shift += 7

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            more = self.sock.recv(count - len(data))
            if not more:
                raise OSError("the broker closed the connection")
            data += more
        return data
