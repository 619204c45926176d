"""The client's side of WebSocket (RFC 6455), as little as a load generator needs: binary messages, no control frames.

The masking key is zero: a server unmasks with it just the same, and the generator need not touch each byte.
"""

from __future__ import annotations

import base64
import os

_MASKED_BINARY = 0x82
_BYTES_16, _BYTES_64 = 126, 127


def handshake(host: str, path: str) -> bytes:
    """The upgrade request."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {host}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: mqtt\r\n\r\n"
    ).encode()


def framed(data: bytes) -> bytes:
    """One binary message around `data`."""
    size = len(data)
    if size < _BYTES_16:
        head = bytes((_MASKED_BINARY, 0x80 | size))
    elif size < 1 << 16:
        head = bytes((_MASKED_BINARY, 0x80 | _BYTES_16)) + size.to_bytes(2, "big")
    else:
        head = bytes((_MASKED_BINARY, 0x80 | _BYTES_64)) + size.to_bytes(8, "big")
    return head + b"\0\0\0\0" + data


class Unframer:
    """Takes the server's frames off a stream; fed with what was read, answers with what is inside.

    Attributes:
        open: whether the server has agreed to the upgrade.
    """

    def __init__(self) -> None:
        self._rest = b""
        self.open = False

    def feed(self, data: bytes) -> bytes:
        """The payload of whole frames.

        Raises:
            ConnectionError: the server refused the upgrade, or closes the connection.
        """
        data = self._rest + data
        if not self.open:
            head, gap, data = data.partition(b"\r\n\r\n")
            if not gap:
                self._rest = head
                return b""
            if b" 101 " not in head.split(b"\r\n", 1)[0]:
                raise ConnectionError(f"the server refused WebSocket: {head[:40]!r}")
            self.open = True
        parts, pos, size = [], 0, len(data)
        while (found := _payload(data, pos, size)) is not None:
            if data[pos] & 0x0F == 0x8:
                raise ConnectionError("the server closed the WebSocket")
            parts.append(data[found[0] : found[1]])
            pos = found[1]
        self._rest = data[pos:]
        return b"".join(parts)


def _payload(data: bytes, pos: int, size: int) -> tuple[int, int] | None:
    """Where the payload of the frame at `pos` starts and ends; None if it isn't all there."""
    if size - pos < 2:
        return None
    length, start = data[pos + 1], pos + 2
    extra = {_BYTES_16: 2, _BYTES_64: 8}.get(length, 0)
    if extra:
        if size < start + extra:
            return None
        length = int.from_bytes(data[start : start + extra], "big")
        start += extra
    return (start, start + length) if start + length <= size else None
