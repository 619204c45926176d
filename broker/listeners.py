"""Where the broker listens: TCP, WebSocket, and both behind TLS."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import structlog

from broker.broker import Broker
from broker.tcp import TcpTransport, serve_tcp
from broker.tls import Certificates, TlsError, TlsListener, serve_tls
from broker.websocket import WebSocketTransport, serve_websocket

log = structlog.get_logger("broker")


@dataclass(frozen=True, slots=True)
class Addresses:
    """`(host, port)` of every listener.

    Attributes:
        path: of the WebSocket listeners.
        origins: Origins that browsers may come from; None for any.
    """

    tcp: Sequence[tuple[str, int]] = ()
    ws: Sequence[tuple[str, int]] = ()
    tls: Sequence[tuple[str, int]] = ()
    wss: Sequence[tuple[str, int]] = ()
    path: str = "/mqtt"
    origins: Sequence[str] | None = None

    @property
    def all(self) -> list[tuple[str, int]]:
        """All of them."""
        return [*self.tcp, *self.ws, *self.tls, *self.wss]


@dataclass(frozen=True, slots=True)
class Leaving:
    """How the broker goes.

    Attributes:
        server_reference: where MQTT 5 clients are sent (5.0 §4.11); empty for nowhere. With one, the broker listens until
            it is gone, so that it can tell also those who come meanwhile.
        seconds: how long the last bytes (a DISCONNECT for each client) have to get out before the process ends.
    """

    server_reference: str = ""
    seconds: float = 0.3


@dataclass(frozen=True, slots=True)
class Listening:
    """Where to listen, what is read anew on SIGHUP, and how it ends.

    Attributes:
        certificates: None when nothing listens with TLS.
        limits_file: overrides limits; None when there is none.
    """

    addresses: Addresses
    certificates: Certificates | None = None
    limits_file: Path | None = None
    leaving: Leaving = Leaving()


class Listeners:
    """Open listeners of one broker."""

    def __init__(self, broker: Broker, addresses: Addresses, certificates: Certificates | None) -> None:
        self._broker = broker
        self._addresses = addresses
        self._certificates = certificates
        self._open: list[asyncio.Server | TlsListener] = []

    async def start(self) -> None:
        """Listen.

        Raises:
            OSError: an address is taken or not ours; nothing listens then.
        """
        broker, addresses = self._broker, self._addresses
        path, origins = addresses.path, addresses.origins
        try:
            for host, port in addresses.tcp:
                self._open.append(await serve_tcp(broker, host, port))
            for host, port in addresses.ws:
                self._open.append(await serve_websocket(broker, host, port, path=path, origins=origins))
            for host, port in addresses.tls:
                await self._serve_tls(lambda: TcpTransport(broker, admitted=True), host, port)
            for host, port in addresses.wss:
                await self._serve_tls(lambda: WebSocketTransport(broker, path, origins, admitted=True), host, port)
        except OSError:
            self.close()
            raise
        log.info(
            "broker.listening",
            tcp=_texts(addresses.tcp),
            websocket=_texts(addresses.ws),
            tls=_texts(addresses.tls),
            secure_websocket=_texts(addresses.wss),
        )

    def reload(self) -> None:
        """Read the certificates anew; broken files change nothing and are logged."""
        if self._certificates is None:
            return
        try:
            self._certificates.reload()
        except TlsError as error:
            log.error("certificates.failed", error=str(error))  # noqa: TRY400 - the reason is what the operator needs
        else:
            log.info("certificates.reloaded")

    def close(self) -> None:
        """Accept nobody any more."""
        while self._open:
            self._open.pop().close()

    async def _serve_tls(self, factory: Callable[[], asyncio.Protocol], host: str, port: int) -> None:
        if self._certificates is None:
            raise TlsError("a TLS listener needs a certificate and its key")
        self._open += await serve_tls(self._broker, self._certificates, factory, host, port)


def _texts(addresses: Sequence[tuple[str, int]]) -> list[str]:
    return [f"{host}:{port}" for host, port in addresses]
