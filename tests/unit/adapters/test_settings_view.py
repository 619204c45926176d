from __future__ import annotations

from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from pydantic import Field, SecretStr
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.broker_admin import BrokerAdmin, HttpProcesses
from adapters.metrics_http import serve
from adapters.settings_view import HIDDEN, visible
from chat.errors import Unavailable


class Settings(BaseSettings):
    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    mongo_url: str = "mongodb://pabal:비밀@db1,db2/?replicaSet=rs0&authSource=admin&tlsCertificateKeyFilePassword=xyz1"
    link_secret_file: Path = Path("/run/secret")
    oidc_client_secret: str = "hunter2"
    signing_token: SecretStr = SecretStr("hunter3")
    webhook: str = "https://example/?token=hunter4&x=1"
    addresses: dict[str, str] = Field(default={"a": "redis://:hunter5@cache/0"})
    push: bool = True
    rate: float = 0.5
    nothing: str | None = None


def test_settings_are_shown_without_what_opens_a_door() -> None:
    shown = visible(Settings())
    text = str(shown)
    assert not any(word in text for word in ("비밀", "xyz1", "hunter"))
    assert shown["PABAL_MONGO_URL"].startswith("mongodb://***@db1,db2/?replicaSet=rs0&authSource=admin&")
    assert shown["PABAL_LINK_SECRET_FILE"] == "/run/secret"
    assert shown["PABAL_OIDC_CLIENT_SECRET"] == HIDDEN
    assert (shown["PABAL_PUSH"], shown["PABAL_RATE"], shown["PABAL_NOTHING"]) == ("true", "0.5", "")


async def test_processes_tell_of_themselves_over_http() -> None:
    server = await serve(
        "127.0.0.1:0", CollectorRegistry(), lambda: {"link": False}, settings=lambda: visible(Settings())
    )
    async with httpx.AsyncClient(trust_env=False) as client:
        there, gone = f"http://127.0.0.1:{server.port}", "http://127.0.0.1:1"
        processes = HttpProcesses(client, {"bridge": there, "worker": gone})
        assert await processes.health() == {"bridge": {"link": False}, "worker": None}
        found = await processes.settings()
        assert found["worker"] is None
        assert found["bridge"] == visible(Settings())
    await server.close()


async def test_a_broker_that_is_not_known_or_away(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("x" * 40)
    async with httpx.AsyncClient(trust_env=False) as client:
        for admin in (
            BrokerAdmin(client, "http://127.0.0.1:1", None),
            BrokerAdmin(client, "http://127.0.0.1:1", tmp_path / "none"),
            BrokerAdmin(client, "http://127.0.0.1:1", secret),
        ):
            with pytest.raises(Unavailable):
                await admin.get("haneul")
