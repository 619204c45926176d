"""What a connection needs of a socket, whatever lies on it: TCP, TLS, WebSocket."""

from __future__ import annotations

from ssl import SSLObject
from typing import Protocol


class Transport(Protocol):
    """What a connection needs of a socket."""

    peer: str
    certificate: str | None
    """The name in the verified client certificate; "" if it names nobody, None without one."""
    tls: SSLObject | None

    def write(self, data: bytes) -> None:
        """Send bytes; never blocks."""
        ...

    def close(self) -> None:
        """Send what is written, then close; bounded in time."""
        ...

    def abort(self) -> None:
        """Close at once: what was not sent is lost."""
        ...

    @property
    def unsent(self) -> int:
        """Bytes written that the system has not taken yet."""
        ...

    def pause(self) -> None:
        """Read nothing."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...
