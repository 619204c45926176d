"""Settings of the broker process: environment variables `PABAL_…`; the command line overrides some."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.tracing import TracingSettings
from broker.limits import DEFAULTS, Limits

SERVER_REFERENCE_LENGTH = 1024
"""A dozen of the longest host names' usual length; each client gets it at once when the broker is stopped."""

_SERVER = re.compile(r"(?:[^\W_][\w.-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
"""A host name (also one in Korean letters), an IPv4 address or an IPv6 address in brackets, and perhaps a port."""


class LimitSettings(BaseSettings):
    """The limits of `broker.limits`, and between which bounds each may be set."""

    model_config = SettingsConfigDict(env_prefix="PABAL_BROKER_LIMIT_")

    max_packet: int = Field(DEFAULTS.max_packet, ge=1024, le=268_435_455)
    connect_timeout: float = Field(DEFAULTS.connect_timeout, gt=0)
    keep_alive_max: int = Field(DEFAULTS.keep_alive_max, ge=0, le=65_535)
    receive_maximum: int = Field(DEFAULTS.receive_maximum, ge=1, le=65_535)
    window: int = Field(DEFAULTS.window, ge=1, le=65_535)
    topic_alias_maximum: int = Field(DEFAULTS.topic_alias_maximum, ge=0, le=65_535)
    queue: int = Field(DEFAULTS.queue, ge=0)
    subscriptions: int = Field(DEFAULTS.subscriptions, ge=1)
    topic_length: int = Field(DEFAULTS.topic_length, ge=256, le=65_535)
    topic_levels: int = Field(DEFAULTS.topic_levels, ge=5, le=128)
    session_expiry_max: int = Field(DEFAULTS.session_expiry_max, ge=0, le=0xFFFFFFFF)
    retained: int = Field(DEFAULTS.retained, ge=0)
    connections: int = Field(DEFAULTS.connections, ge=1)
    max_connect_packet: int = Field(DEFAULTS.max_connect_packet, ge=1024, le=268_435_455)
    address_rate: float = Field(DEFAULTS.address_rate, ge=0)
    address_burst: int = Field(DEFAULTS.address_burst, ge=1)
    filters_per_subscribe: int = Field(DEFAULTS.filters_per_subscribe, ge=1)
    write_buffer: int = Field(DEFAULTS.write_buffer, ge=65_536)
    write_buffer_total: int = Field(DEFAULTS.write_buffer_total, ge=1024 * 1024)
    write_timeout: float = Field(DEFAULTS.write_timeout, gt=0)
    presence_grace: float = Field(DEFAULTS.presence_grace, ge=0)
    presence_rate: int = Field(DEFAULTS.presence_rate, ge=1)
    ingest_queue: int = Field(DEFAULTS.ingest_queue, ge=1)
    ingest_wait: float = Field(DEFAULTS.ingest_wait, ge=0)
    service_receive_maximum: int = Field(DEFAULTS.service_receive_maximum, ge=1, le=65_535)
    session_expiry_v311: int = Field(DEFAULTS.session_expiry_v311, ge=0, le=0xFFFFFFFF)
    sessions: int = Field(DEFAULTS.sessions, ge=0)
    grants_cached: int = Field(DEFAULTS.grants_cached, ge=1)

    def limits(self) -> Limits:
        """The limits in force."""
        return Limits(**self.model_dump())


class AmqttPlugin(BaseModel):
    """One amqtt plugin: the dotted name of its class, and the fields of its `Config`."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(alias="class", pattern=r"^\w+(\.\w+)+$")
    config: dict[str, Any] = {}


class BrokerSettings(TracingSettings, BaseSettings):
    """Everything that the process needs to know. Addresses are `host:port`; an empty one switches the listener off."""

    model_config = SettingsConfigDict(env_prefix="PABAL_")

    broker_name: str = "broker1"
    broker_tcp: str = "127.0.0.1:1883"
    broker_ws: str = "127.0.0.1:8083"
    broker_ws_path: str = "/mqtt"
    broker_ws_origins: list[str] | None = None
    broker_tls: str = ""
    broker_wss: str = ""
    broker_tls_cert: Path | None = None
    broker_tls_key: Path | None = None
    broker_tls_client_ca: Path | None = None
    broker_tls_client_cert: Literal["off", "optional", "required"] | None = None
    """Whether a client certificate may or must be shown; None: it must with a client CA, and is not asked for without."""
    broker_limits_file: Path | None = None
    """`PABAL_BROKER_LIMIT_…=value` lines, read again on SIGHUP; the environment goes before it."""
    broker_state: Path | None = None
    """Directory of its own for persistent sessions, retained messages and wills; None: they end with the process."""
    broker_http: str = "127.0.0.1:9101"
    broker_policy: Literal["chat", "amqtt"] = "chat"
    """Who decides: Pabal's own rules, or amqtt plugins (then neither MongoDB nor Valkey is used)."""
    broker_amqtt_plugins: list[AmqttPlugin] = []
    mongo_url: str = "mongodb://127.0.0.1:27117/?replicaSet=pabal"
    mongo_database: str = "pabal"
    valkey_url: str = "redis://127.0.0.1:6479/0"
    jwks_file: Path = Path("var/jwks.json")
    services_dir: Path = Path("var/services")
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    broker_admin_secret_file: Path | None = None
    """Opens `/admin/` of the broker's HTTP address; None: there is none."""
    broker_sys_seconds: float = Field(10.0, ge=1)
    """How often `$SYS/#` is published."""
    broker_sweep_seconds: float = Field(60.0, gt=0)
    """How often every grant and membership is checked, whether or not somebody told of a change."""
    broker_sweep_blind_seconds: float = Field(2.0, gt=0)
    """The same while no invalidations can be heard."""
    broker_server_reference: str = ""
    """Where MQTT 5 clients are sent when this broker is stopped: `host:port`, several separated by spaces; empty: nowhere."""
    broker_drain_seconds: float = Field(0.3, ge=0, le=3600)
    """How long a broker that is stopped goes on writing what it has to say."""


def read_limits(file: Path | None) -> Limits:
    """The limits from the environment, then from a file, then as they are by default.

    Raises:
        ValueError: the file is not there, or a line of it names no limit or gives it no value that it can have.
    """
    if file is not None and not file.is_file():
        raise ValueError(f"the limits file {file} is not there")
    return LimitSettings(_env_file=file).limits()


def server_reference(text: str) -> str:
    """A server reference of MQTT 5 (§4.11): names of servers with or without a port, separated by spaces; empty for none.

    Raises:
        ValueError: a name is none, or it is all too long.
    """
    names = text.split()
    if not all(_SERVER.fullmatch(name) for name in names):
        raise ValueError(f"a server reference is host or host:port, or several with spaces between, not {text!r}")
    if len(text) > SERVER_REFERENCE_LENGTH:
        raise ValueError(f"a server reference has {SERVER_REFERENCE_LENGTH} characters at the most")
    return " ".join(names)


def address(text: str) -> tuple[str, int]:
    """`host:port` taken apart; IPv6 as `[::1]:1883`.

    Raises:
        ValueError: it is neither.
    """
    host, colon, port = text.rpartition(":")
    if not colon or not host or not port.isdecimal() or int(port) > 65_535:
        raise ValueError(f"an address is host:port, not {text!r}")
    return host.strip("[]"), int(port)
