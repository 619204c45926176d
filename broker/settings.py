"""Settings of the broker process: environment variables `PABAL_…`; the command line overrides some."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from broker.limits import DEFAULTS, Limits


class LimitSettings(BaseSettings):
    """The limits that operators change; the rest of `broker.limits` stands as it is."""

    model_config = SettingsConfigDict(env_prefix="PABAL_BROKER_LIMIT_")

    max_packet: int = Field(DEFAULTS.max_packet, ge=1024, le=268_435_455)
    connect_timeout: float = Field(DEFAULTS.connect_timeout, gt=0)
    keep_alive_max: int = Field(DEFAULTS.keep_alive_max, ge=0, le=65_535)
    receive_maximum: int = Field(DEFAULTS.receive_maximum, ge=1, le=65_535)
    window: int = Field(DEFAULTS.window, ge=1, le=65_535)
    queue: int = Field(DEFAULTS.queue, ge=0)
    subscriptions: int = Field(DEFAULTS.subscriptions, ge=1)
    topic_length: int = Field(DEFAULTS.topic_length, ge=256, le=65_535)
    topic_levels: int = Field(DEFAULTS.topic_levels, ge=5, le=128)
    session_expiry_max: int = Field(DEFAULTS.session_expiry_max, ge=0, le=0xFFFFFFFF)
    retained: int = Field(DEFAULTS.retained, ge=0)
    connections: int = Field(DEFAULTS.connections, ge=1)
    ingest_wait: float = Field(DEFAULTS.ingest_wait, ge=0)

    def limits(self) -> Limits:
        """The limits in force."""
        return Limits(**self.model_dump())


class BrokerSettings(BaseSettings):
    """Everything that the process needs to know. Addresses are `host:port`; an empty one switches the listener off."""

    model_config = SettingsConfigDict(env_prefix="PABAL_")

    broker_name: str = "broker1"
    broker_tcp: str = "127.0.0.1:1883"
    broker_ws: str = "127.0.0.1:8083"
    broker_ws_path: str = "/mqtt"
    broker_ws_origins: list[str] | None = None
    broker_http: str = "127.0.0.1:9101"
    mongo_url: str = "mongodb://127.0.0.1:27117/?replicaSet=pabal"
    mongo_database: str = "pabal"
    valkey_url: str = "redis://127.0.0.1:6479/0"
    jwks_file: Path = Path("var/jwks.json")
    services_dir: Path = Path("var/services")
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    broker_sweep_seconds: float = Field(60.0, gt=0)
    """How often every grant and membership is checked, whether or not somebody told of a change."""
    broker_sweep_blind_seconds: float = Field(2.0, gt=0)
    """The same while no invalidations can be heard."""


def address(text: str) -> tuple[str, int]:
    """`host:port` taken apart; IPv6 as `[::1]:1883`.

    Raises:
        ValueError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"an address is host:port, not {text!r}")
    return host.strip("[]"), int(port)
