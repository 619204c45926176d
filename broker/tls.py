"""TLS: the server's certificate, client certificates as a login, and the listener that shakes hands.

TLS 1.2 and 1.3 with the `ssl` module's own choice of ciphers. A certificate is read anew on SIGHUP; a connection keeps the
one it was made with. There is no revocation list: a device whose key got out is disabled, which cuts its connection too.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import structlog

from broker.broker import Broker

log = structlog.get_logger("broker")

ClientCertificates = Literal["off", "optional", "required"]

CLOSE_TIMEOUT = 5.0
"""Seconds that a closing connection has to take what was written for it, and to answer the end of TLS."""

ACCEPT_PAUSE = 1.0
"""Seconds without accepting after the process ran out of descriptors: the socket stays readable and would spin the loop."""

_ACCEPT_BATCH = 64
_VERIFY = {"off": ssl.CERT_NONE, "optional": ssl.CERT_OPTIONAL, "required": ssl.CERT_REQUIRED}


class TlsError(ValueError):
    """The certificate, its key, or the client CA can't be used; says which, and why."""


@dataclass(frozen=True, slots=True)
class TlsFiles:
    """Where the PEM files are.

    Attributes:
        certificate: the server's, and the intermediate ones behind it.
        key: its private key, not encrypted.
        client_ca: who signs client certificates; None when they are not asked for.
        client_certificates: whether a client certificate is not asked for, may be shown, or must be.
    """

    certificate: Path
    key: Path
    client_ca: Path | None = None
    client_certificates: ClientCertificates = "off"


class Certificates:
    """The TLS context in force.

    Args:
        files: read now, and again at each `reload`.

    Raises:
        TlsError: they can't be used.
    """

    def __init__(self, files: TlsFiles) -> None:
        self._files = files
        self.context = make_context(files)

    def reload(self) -> None:
        """Read the files anew, for connections from now on.

        Raises:
            TlsError: they can't be used; what was in force stays so.
        """
        self.context = make_context(self._files)


def make_context(files: TlsFiles) -> ssl.SSLContext:
    """A server's context from PEM files.

    Raises:
        TlsError: a file is missing, is not PEM, is encrypted, or the key is another certificate's.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_alpn_protocols(["mqtt", "http/1.1"])
    _readable("certificate", files.certificate)
    _readable("key", files.key)
    try:
        context.load_cert_chain(files.certificate, files.key, password=_no_password)
    except ssl.SSLError as error:
        if error.reason == "KEY_VALUES_MISMATCH":
            raise TlsError(f"the key {files.key} does not belong to the certificate {files.certificate}") from None
        detail = error.reason or "not PEM"
        raise TlsError(f"the certificate {files.certificate} or the key {files.key} can't be used: {detail}") from None
    if files.client_certificates != "off":
        if files.client_ca is None:
            raise TlsError("client certificates need a client CA")
        _readable("client CA", files.client_ca)
        try:
            context.load_verify_locations(files.client_ca)
        except ssl.SSLError as error:
            raise TlsError(f"the client CA {files.client_ca} can't be used: {error.reason or 'not PEM'}") from None
        context.verify_mode = _VERIFY[files.client_certificates]
    return context


def _readable(what: str, path: Path) -> None:
    try:
        with path.open("rb"):
            return
    except OSError as error:
        raise TlsError(f"the {what} {path} can't be read: {error.strerror}") from None


def _no_password() -> str:
    raise TlsError("the key is encrypted: nobody is there to give its password")


def certificate_name(transport: asyncio.BaseTransport) -> str | None:
    """The subject's common name of a verified client certificate: "" if it has none or several, None without one."""
    certificate = transport.get_extra_info("peercert")  # filled for verified certificates only
    if not certificate:
        return None
    names = [value for part in certificate["subject"] for key, value in part if key == "commonName"]
    return names[0] if len(names) == 1 else ""


class TlsListener:
    """Accepts sockets, and hands over those that have shaken hands. A slow or foreign peer costs its own socket only.

    It accepts by itself, rather than with `create_server`, so that an address that comes too fast is turned away before
    its handshake (a signature, the dearest thing that a stranger can ask for), and so that each takes the newest context.

    Args:
        broker: whose clients they are.
        certificates: what they are shown.
        factory: the protocol behind TLS.
        listening: a bound socket that listens.
    """

    def __init__(
        self,
        broker: Broker,
        certificates: Certificates,
        factory: Callable[[], asyncio.Protocol],
        listening: socket.socket,
    ) -> None:
        self._broker = broker
        self._certificates = certificates
        self._factory = factory
        self._socket = listening
        self._loop = asyncio.get_running_loop()
        self._closed = False
        listening.setblocking(False)
        self._listen()

    def close(self) -> None:
        """Accept nobody any more; connections stay."""
        self._closed = True
        self._loop.remove_reader(self._socket)
        self._socket.close()

    def _listen(self) -> None:
        if not self._closed:
            self._loop.add_reader(self._socket, self._accept)

    def _accept(self) -> None:
        for _ in range(_ACCEPT_BATCH):  # then the others' turn
            try:
                accepted, peer = self._socket.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                log.error("broker.accept_failed", error=error.strerror)  # noqa: TRY400 - the reason is all there is
                self._loop.remove_reader(self._socket)
                self._loop.call_later(ACCEPT_PAUSE, self._listen)
                return
            if self._broker.admission.admits(peer[0]):
                accepted.setblocking(False)
                self._broker.spawn(self._shake(accepted))
            else:
                accepted.close()

    async def _shake(self, accepted: socket.socket) -> None:
        admission = self._broker.admission
        admission.shaking += 1
        try:
            await self._loop.connect_accepted_socket(
                self._factory,
                accepted,
                ssl=self._certificates.context,
                ssl_handshake_timeout=self._broker.core.limits.connect_timeout,
                ssl_shutdown_timeout=CLOSE_TIMEOUT,
            )
        except OSError as error:  # TLS alerts, timeouts and lost connections are all of this kind
            self._broker.core.stats.connects["tls_failed"] += 1
            log.debug("tls.failed", reason=getattr(error, "reason", None) or type(error).__name__)
        finally:
            admission.shaking -= 1


async def serve_tls(
    broker: Broker, certificates: Certificates, factory: Callable[[], asyncio.Protocol], host: str, port: int
) -> list[TlsListener]:
    """Listen with TLS on every address of a host."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    listeners: list[TlsListener] = []
    try:
        for family, address in dict.fromkeys((family, address) for family, _, _, _, address in found):
            listening = socket.create_server(address, family=family, backlog=1024)
            listeners.append(TlsListener(broker, certificates, factory, listening))
    except OSError:
        for listener in listeners:
            listener.close()
        raise
    return listeners
