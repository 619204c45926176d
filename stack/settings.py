"""Settings of the stack: environment variables with the prefix PABAL_, and the flags of `pabal up`, which win."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from stack import ports
from stack.ports import Address


def _address(value: object) -> object:
    return Address.parse(value) if isinstance(value, str) else value


Bind = Annotated[Address, NoDecode, BeforeValidator(_address)]
"""`host:port`."""

OptionalBind = Annotated[Address | None, NoDecode, BeforeValidator(lambda value: _address(value) if value else None)]
"""The same; empty for not at all."""


def _default(name: str) -> Address:
    return next(Address("127.0.0.1", port.default) for port in ports.TABLE if port.name == name)


SECURE = ("mqtts", "wss")
"""Names in the port table that need a certificate."""


class StackSettings(BaseSettings):
    """What runs, where it listens, and where it keeps its state.

    Attributes:
        state: directory of everything that the stack writes.
        port_base: shift all ports (`stack.ports`); it beats the single addresses below, which keep their hosts.
        mongo_url: a replica set that runs elsewhere; None starts a mongod of our own.
        valkey_url: a Valkey or Redis that runs elsewhere; None starts one of our own.
        mongo_nodes: mongods of our own: 1, or 3, of which one may die or freeze without anybody noticing much.
        mongo_cache_gb: GiB of WiredTiger's cache, of each.
        broker_tls_cert, broker_tls_key, broker_tls_client_ca, broker_tls_client_cert: as the broker's own settings; with a
            certificate it listens on `broker_tls` and `broker_wss` too.
        fcm: start the FCM emulator and send pushes to it; otherwise PABAL_FCM_* of the environment stand.
    """

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    state: Path = Path("var")
    port_base: int | None = None
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    mongo_url: str | None = None
    mongo_database: str = "pabal"
    mongo_nodes: Literal[1, 3] = 1
    mongo_cache_gb: float = Field(default=1.0, ge=0.25)
    valkey_url: str | None = None
    fcm: bool = True

    broker_tcp: Bind = _default("mqtt")
    broker_ws: Bind = _default("ws")
    api_bind: Bind = _default("api")
    broker_http: Bind = _default("broker_http")
    bridge_http: Bind = _default("bridge_http")
    worker_http: Bind = _default("worker_http")
    mongo_bind: Bind = _default("mongo")
    valkey_bind: Bind = _default("valkey")
    fcm_bind: Bind = _default("fcm")
    broker_tls: OptionalBind = _default("mqtts")
    broker_wss: OptionalBind = _default("wss")
    broker_tls_cert: Path | None = None
    broker_tls_key: Path | None = None
    broker_tls_client_ca: Path | None = None
    broker_tls_client_cert: Literal["off", "optional", "required"] | None = None
    mongo1_bind: Bind = _default("mongo1")
    mongo2_bind: Bind = _default("mongo2")

    @field_validator("mongo_bind", "valkey_bind", "fcm_bind", "mongo1_bind", "mongo2_bind")
    @classmethod
    def _loopback(cls, address: Address) -> Address:
        if not address.is_loopback:
            raise ValueError("the servers of a stack ask for no password: they listen on loopback only")
        return address

    def clients_show_certificates(self) -> bool:
        """Whether a client has to show a certificate to connect over TLS."""
        mode = self.broker_tls_client_cert
        return mode == "required" or (mode is None and self.broker_tls_client_ca is not None)

    def addresses(self) -> dict[str, Address]:
        """Address per name of the port table; those for TLS only with a certificate, and unless they are switched off.

        Raises:
            BadPortBase: `port_base` leaves no room for the ports.
        """
        settings = {port.name: port.setting.removeprefix("PABAL_").lower() for port in ports.TABLE}
        every: dict[str, Address | None] = {name: getattr(self, setting) for name, setting in settings.items()}
        if self.broker_tls_cert is None:
            every |= dict.fromkeys(SECURE)
        found = {name: address for name, address in every.items() if address is not None}
        if self.port_base is None:
            return found
        shifted = ports.shifted(self.port_base)
        return {name: Address(address.host, shifted[name]) for name, address in found.items()}
