"""Settings of the bridge: environment variables `PABAL_…`."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.tracing import TracingSettings
from chat.envelopes import MAX_SEND_BYTES, MAX_TEXT


class Settings(TracingSettings, BaseSettings):
    """What the bridge can be told from outside. Times are seconds.

    Attributes:
        bridge_instance: tells several bridges apart (client id `svc-bridge:{instance}`); without it each gives itself a name of its own.
        bridge_receive_maximum: messages that may be unsettled at once: what the bridge holds in memory is bounded by it.
        bridge_batch: messages in one write at most.
        bridge_batches: writes under way at once.
        bridge_receipts_every: watermark moves are coalesced for so long.
        bridge_receipts_named: chats of up to so many people see each other's watermarks by name, larger ones as counts.
        bridge_receipts_hold: what the broker reports of larger chats is coalesced for so long.
        bridge_edit_within: how old a message may be when its sender edits it; 0 for any age.
        bridge_delete_within: how old when they delete it for everyone.
        bridge_shadow_file: who is shadow-banned, see `bridge.filters.shadow`.
        bridge_max_text: characters of one text.
        bridge_rate: messages per second of one sender, once `bridge_burst` is used up.
        bridge_chat_rate: messages per second in one chat, once `bridge_chat_burst` is used up.
        bridge_duplicates: one person's messages of the same content within `bridge_duplicates_within`; 0 for no bound.
        bridge_words_file: blocked words, see `bridge.filters.words`.
        bridge_links_file: blocked domains, see `bridge.filters.links`.
        bridge_tries: a message that fails unexpectedly is tried so often before it goes to dead letters.
        bridge_drain: how long SIGTERM waits for what is under way.
    """

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    mongo_url: str = "mongodb://127.0.0.1:27117/?replicaSet=pabal"
    mongo_database: str = "pabal"
    valkey_url: str = "redis://127.0.0.1:6479/0"
    log_level: str = "info"
    log_format: Literal["console", "json"] = "console"
    mqtt_host: str = "127.0.0.1"
    mqtt_port: int = 1883
    link_secret_file: Path

    bridge_http: str = "127.0.0.1:9102"
    bridge_instance: str | None = Field(default=None, pattern=r"^[A-Za-z0-9._-]{1,64}$")
    bridge_max_send_bytes: int = Field(default=MAX_SEND_BYTES, ge=1)
    bridge_receive_maximum: int = Field(default=10_000, ge=1, le=65_535)
    bridge_batch: int = Field(default=512, ge=1, le=10_000)
    bridge_batches: int = Field(default=3, ge=1, le=16)
    bridge_receipts_every: float = Field(default=0.2, gt=0, le=10)
    bridge_receipts_named: int = Field(default=100, ge=0)
    bridge_receipts_hold: float = Field(default=1.5, ge=0, le=60)
    bridge_rate: float = Field(default=5_000.0, gt=0)
    bridge_burst: float = Field(default=10_000.0, ge=1)
    bridge_chat_rate: float = Field(default=20_000.0, gt=0)
    bridge_chat_burst: float = Field(default=40_000.0, ge=1)
    bridge_edit_within: int = Field(default=172_800, ge=0)
    bridge_delete_within: int = Field(default=172_800, ge=0)
    bridge_shadow_file: Path | None = None
    bridge_max_text: int = Field(default=MAX_TEXT, ge=1)
    bridge_duplicates: int = Field(default=100, ge=0)
    bridge_duplicates_within: float = Field(default=60.0, gt=0)
    bridge_words_file: Path | None = None
    bridge_links_file: Path | None = None
    bridge_tries: int = Field(default=3, ge=1, le=20)
    bridge_drain: float = Field(default=8.0, ge=0)
