"""Items of docs/security.md that no other test shows: who a proxy may speak for, and which passwords are taken."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from starlette.types import Receive, Scope, Send

from api.__main__ import _config
from api.settings import Settings
from tests.contract.api.world import World


async def seen_client(settings: Settings, peer: str) -> str:
    """Whom the application takes for the client of a request that came from `peer` and names somebody else."""
    seen: list[str] = []

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        del receive, send
        seen.append(scope["client"][0])

    config = _config(settings, app, ("127.0.0.1", 0))
    config.load()
    headers = [(b"x-forwarded-for", b"203.0.113.9"), (b"x-forwarded-proto", b"https"), (b"x-real-ip", b"203.0.113.9")]
    scope: dict[str, Any] = {"type": "http", "client": (peer, 1), "scheme": "http", "headers": headers}

    async def nothing(*_: Any) -> Any:
        return None

    await config.loaded_app(scope, nothing, nothing)  # type: ignore[arg-type]
    return seen[0]


@pytest.mark.parametrize(
    ("believed", "peer", "expected"),
    [
        ("", "192.0.2.1", "192.0.2.1"),
        ("", "127.0.0.1", "127.0.0.1"),
        ("192.0.2.1", "192.0.2.1", "203.0.113.9"),
        ("192.0.2.1", "192.0.2.2", "192.0.2.2"),
    ],
)
async def test_nobody_chooses_their_own_address(tmp_path: Path, believed: str, peer: str, expected: str) -> None:
    chosen = {"mongo_url": "x", "link_secret_file": tmp_path, "keys_dir": tmp_path, "jwks_file": tmp_path}
    settings = Settings.model_validate(chosen | {"api_forwarded_allow_ips": believed})
    assert await seen_client(settings, peer) == expected


@pytest.mark.parametrize("stores", ["memory"], indirect=True)
@pytest.mark.parametrize(
    ("password", "status"),
    [
        ("짧다", 422),
        ("a" * 7, 422),
        ("only small letters and spaces", 201),
        ("파발은 밤에도 달린다 파발은 밤에도", 201),
        ("🐎🐢🐇🦊🐻🐼🐨🐯" * 2, 201),
        ("  spaces count, at both ends  ", 201),
        ("x1-y2=z3" * 8, 201),
        ("x1-y2=z3" * 16, 201),
    ],
)
async def test_passwords_of_any_composition(world: World, password: str, status: int) -> None:
    client = world.api.client
    wish = {"handle": "newcomer", "password": password, "display_name": "새"}
    assert (await client.post("/v1/auth/register", json=wish)).status_code == status
    for shown, expected in (
        (password, 200),
        (password[:-1], 401),
        (password.swapcase() + "x", 401),
        (password.strip() + ".", 401),
    ):
        form = {"grant_type": "password", "username": "newcomer", "password": shown}
        answer = await client.post("/v1/auth/token", data=form)
        assert answer.status_code == (expected if status == 201 else 401), shown
