"""Settings of the api, from the environment (prefix `PABAL_`)."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.tracing import TracingSettings


def explain(error: ValidationError) -> str:
    """What is wrong, field by field, without the values: a password may be among them."""
    wrong = (f"{'.'.join(map(str, entry['loc']))}: {entry['msg']}" for entry in error.errors(include_input=False))
    return f"{error.title}: {'; '.join(wrong)}"


class Settings(TracingSettings, BaseSettings):
    """What the api is told. Bytes, seconds and counts are plain numbers; rates are per second.

    The defaults of the limits are generous: they stop floods and guessing, not people who mistype.
    """

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    api_bind: str = "127.0.0.1:8080"
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"

    mongo_url: str
    mongo_database: str = "pabal"
    valkey_url: str = "redis://127.0.0.1:6479/0"
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = Field(default=1883, ge=1, le=65535)
    link_secret_file: Path
    keys_dir: Path
    jwks_file: Path
    ca_dir: Path | None = None
    """Our own certificate authority for devices; None: none is enrolled."""

    vapid_dir: Path | None = None
    """The keys by which push services of browsers know us; None: browsers are pushed to through FCM only."""
    vapid_contact: str = "mailto:postmaster@localhost"
    """Whom a push service may turn to: `mailto:…` or `https://…`."""
    api_web_push_services: str = "https://fcm.googleapis.com,https://updates.push.services.mozilla.com,https://*.push.apple.com,https://*.notify.windows.com"
    """Origins of the push services of browsers, with commas. Our workers connect to what users name, so only these are taken."""

    oidc_file: Path | None = None
    """OpenID providers at which people may sign in: JSON, by name; it holds secrets."""
    api_forwarded_allow_ips: str = ""
    """Addresses of proxies whose `X-Forwarded-For` is believed, with commas; empty: nobody's, so that nobody chooses their own address."""
    api_max_body_bytes: int = Field(default=256 * 1024, ge=1024)
    api_max_send_bytes: int = Field(default=64 * 1024, ge=1024)
    """As PABAL_BRIDGE_MAX_SEND_BYTES: the bridge decides, the api only answers sooner."""
    api_max_requests: int = Field(default=512, ge=1)
    """Requests under way at once; more are answered 503 with Retry-After instead of waiting in memory."""
    api_max_members: int = Field(default=5000, ge=2)
    api_max_devices: int = Field(default=100, ge=1)
    """Devices of one user."""
    api_device_certificate_days: int = Field(default=90, ge=1, le=825)
    """How long a device's certificate is valid; it renews it before."""
    api_max_push_tokens: int = Field(default=50, ge=1)
    """Push tokens of one user; the one that was used longest ago makes room."""
    api_max_contacts: int = Field(default=5000, ge=1)
    """Contacts of one user."""
    api_max_blocks: int = Field(default=5000, ge=1)
    """People whom one user blocks."""
    api_max_links: int = Field(default=50, ge=1)
    """Links into one chat that are good at the same time."""
    api_max_join_requests: int = Field(default=1000, ge=1)
    """People who wait to be let into one chat."""
    api_receipts_named: int = Field(default=100, ge=1, le=1_000)
    """As PABAL_BRIDGE_RECEIPTS_NAMED: chats of up to so many members show who has seen what, larger ones how many."""
    api_rate: float = Field(default=100.0, gt=0)
    """Requests per second of one principal in the long run, per process of the api; beyond it 429."""
    api_burst: float = Field(default=1000.0, ge=1)
    """Requests of one principal at once."""
    api_cors_origins: str = ""
    """Origins whose pages may call the api, with commas, such as `https://chat.example.org`; empty: none, `*`: all."""
    api_idempotency_seconds: float = Field(default=86_400.0, ge=60)
    """For how long an idempotency key is remembered."""
    api_max_sessions: int = Field(default=100, ge=1)
    """Sign-ins of one user; the one that was used longest ago makes room."""
    api_send_timeout: float = Field(default=10.0, gt=0)
    """Seconds that a REST send waits for the bridge."""

    api_hooks_bind: str = ""
    """Where other brokers ask whom to let in and what they may (`api.internal`); empty: nowhere. Never an address of the public."""
    api_hooks_secret_file: Path | None = None
    """What those brokers have to show; without it nothing listens there."""
    api_hooks_vhost: str = "/"
    """The one virtual host of RabbitMQ that our people may use."""
    services_dir: Path | None = None
    """The secrets of our own processes, which sign in to another broker too; None: they can't."""
    broker_admin_url: str = "http://127.0.0.1:9101"
    """The broker's HTTP address, where administrators' questions about connections go."""
    broker_admin_secret_file: Path | None = None
    """Opens its admin interface; None: nobody asks for connections here."""
    api_processes: dict[str, str] = {}
    """HTTP addresses of the other processes by name, for their health and settings."""

    # RFC 9106 and OWASP: argon2id with 19 MiB and 2 passes withstands guessing and leaves room for several at once.
    argon2_memory_kib: int = Field(default=19 * 1024, ge=8)
    argon2_passes: int = Field(default=2, ge=1)
    argon2_threads: int = Field(default=2, ge=1)
    """Passwords worked on at once."""

    login_handle_rate: float = Field(default=0.5, gt=0)
    login_handle_burst: float = Field(default=30, ge=1)
    login_address_rate: float = Field(default=20, gt=0)
    login_address_burst: float = Field(default=500, ge=1)
    login_lock_after: float = Field(default=50, ge=1)
    """Tries for one handle that fail in a row before it is locked: NIST SP 800-63B §3.2.2 allows 100."""
    login_lock_seconds: float = Field(default=300, gt=0)
    """Then one more try in so many seconds, until one succeeds."""

    @field_validator("api_bind")
    @classmethod
    def _host_and_port(cls, value: str) -> str:
        host, _, port = value.rpartition(":")
        if not host or not port.isdecimal() or int(port) > 65535:
            raise ValueError("a bind is host:port, such as 127.0.0.1:8080 or [::1]:8080")
        return value

    @field_validator("api_hooks_bind")
    @classmethod
    def _off_or_host_and_port(cls, value: str) -> str:
        return cls._host_and_port(value) if value else value

    @property
    def push_services(self) -> list[str]:
        """Origins that browsers may be pushed at."""
        return [origin.strip() for origin in self.api_web_push_services.split(",") if origin.strip()]

    @property
    def bind(self) -> tuple[str, int]:
        """Host and port to listen on."""
        return _split(self.api_bind)

    @property
    def hooks_bind(self) -> tuple[str, int] | None:
        """Host and port for other brokers; None: off."""
        return _split(self.api_hooks_bind) if self.api_hooks_bind else None


def _split(bind: str) -> tuple[str, int]:
    host, _, port = bind.rpartition(":")
    return host.strip("[]"), int(port)
