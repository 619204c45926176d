"""Command line and settings together: where to listen, with which certificates."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

from broker.listeners import Addresses, Leaving, Listening
from broker.settings import BrokerSettings, address, server_reference
from broker.tls import Certificates, TlsError, TlsFiles

_LISTENERS = ("bind", "bind_ws", "bind_tls", "bind_wss")


def add_listeners(parser: ArgumentParser) -> None:
    """The options of the listeners."""
    for option, text in (
        ("--bind", "MQTT over TCP"),
        ("--bind-ws", "MQTT over WebSocket, path /mqtt"),
        ("--bind-tls", "MQTT over TLS"),
        ("--bind-wss", "MQTT over secure WebSocket, path /mqtt"),
    ):
        parser.add_argument(option, action="append", metavar="HOST:PORT", help=f"{text} (repeatable)")
    parser.add_argument(
        "--cert", metavar="FILE", type=Path, help="certificate of the TLS listeners, and those behind it (PEM)"
    )
    parser.add_argument("--key", metavar="FILE", type=Path, help="its private key (PEM, not encrypted)")
    parser.add_argument("--client-ca", metavar="FILE", type=Path, help="who signs client certificates (PEM)")
    parser.add_argument(
        "--client-cert",
        choices=["off", "optional", "required"],
        help="whether clients may or must show one (default: required with --client-ca)",
    )
    parser.add_argument(
        "--server-reference",
        metavar="HOST:PORT",
        help="another server (several: separated by spaces) that MQTT 5 clients are sent to when this one is stopped",
    )


def listening(options: Namespace, settings: BrokerSettings) -> Listening:
    """Where to listen: each option overrides its setting; an open broker listens where options say, if any do.

    Raises:
        ValueError: an address or server reference is none, TLS lacks a file, or a file can't be used.
    """
    only_options = options.open and any(getattr(options, name) for name in _LISTENERS)

    def chosen(name: str, setting: str) -> list[tuple[str, int]]:
        texts = getattr(options, name) or ([setting] if setting and not only_options else [])
        return [address(text) for text in texts]

    addresses = Addresses(
        tcp=chosen("bind", settings.broker_tcp),
        ws=chosen("bind_ws", "" if options.open else settings.broker_ws),
        tls=chosen("bind_tls", settings.broker_tls),
        wss=chosen("bind_wss", settings.broker_wss),
        path=settings.broker_ws_path,
        origins=settings.broker_ws_origins,
    )
    certificates = Certificates(_files(options, settings)) if addresses.tls or addresses.wss else None
    reference = options.server_reference if options.server_reference is not None else settings.broker_server_reference
    leaving = Leaving(server_reference(reference), settings.broker_drain_seconds)
    return Listening(addresses, certificates, settings.broker_limits_file, leaving)


def _files(options: Namespace, settings: BrokerSettings) -> TlsFiles:
    chosen = settings.model_copy(
        update={
            f"broker_tls_{name}": given
            for name in ("cert", "key", "client_ca", "client_cert")
            if (given := getattr(options, name)) is not None
        }
    )
    certificate, key, authority = chosen.broker_tls_cert, chosen.broker_tls_key, chosen.broker_tls_client_ca
    if certificate is None or key is None:
        raise TlsError("a TLS listener needs a certificate and its key: --cert and --key")
    mode = chosen.broker_tls_client_cert or ("required" if authority is not None else "off")
    return TlsFiles(certificate, key, authority, mode)
