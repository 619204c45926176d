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


def _default(name: str) -> Address:
    return next(Address("127.0.0.1", port.default) for port in ports.TABLE if port.name == name)


class StackSettings(BaseSettings):
    """What runs, where it listens, and where it keeps its state.

    Attributes:
        state: directory of everything that the stack writes.
        port_base: shift all ports (`stack.ports`); it beats the single addresses below, which keep their hosts.
        mongo_url: a replica set that runs elsewhere; None starts a mongod of our own.
        valkey_url: a Valkey or Redis that runs elsewhere; None starts one of our own.
        mongo_cache_gb: GiB of WiredTiger's cache.
        fcm: start the FCM emulator and send pushes to it; otherwise PABAL_FCM_* of the environment stand.
    """

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    state: Path = Path("var")
    port_base: int | None = None
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    mongo_url: str | None = None
    mongo_database: str = "pabal"
    mongo_cache_gb: float = Field(default=0.5, ge=0.25)
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

    @field_validator("mongo_bind", "valkey_bind", "fcm_bind")
    @classmethod
    def _loopback(cls, address: Address) -> Address:
        if not address.is_loopback:
            raise ValueError("the servers of a stack ask for no password: they listen on loopback only")
        return address

    def addresses(self) -> dict[str, Address]:
        """Address per name of the port table.

        Raises:
            BadPortBase: `port_base` leaves no room for the ports.
        """
        settings = {port.name: port.setting.removeprefix("PABAL_").lower() for port in ports.TABLE}
        found: dict[str, Address] = {name: getattr(self, setting) for name, setting in settings.items()}
        if self.port_base is None:
            return found
        shifted = ports.shifted(self.port_base)
        return {name: Address(address.host, shifted[name]) for name, address in found.items()}
