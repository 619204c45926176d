"""Every route against its own description: Schemathesis with all checks, stateful, signed in, on a real MongoDB.

`make test ARGS="-k schemathesis"` runs it alone; with LONG=1 it looks much longer.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvicorn

from adapters.mongo import open_stores
from api.clock import now
from api.testing import Harness, running_api
from chat import topics
from chat.ids import new_message_id
from chat.models import DeadLetter, User
from stack.ports import free_port
from tests.conftest import LONG

EXAMPLES = 200 if LONG else 12
SECONDS = 900 if LONG else 300
ROOTS = secrets.token_hex(16)
"""The administrator's password: in no example, so that no route changes it."""

REPLACED = "positive_data_acceptance,ensure_resource_availability"
"""By the checks of `schemathesis_hooks`, which know our codes."""


@asynccontextmanager
async def served(api: Harness) -> AsyncIterator[str]:
    """The api on a socket."""
    port = free_port()
    config = uvicorn.Config(api.app, host="127.0.0.1", port=port, lifespan="off", log_config=None, access_log=False)
    server = uvicorn.Server(config)
    serving = asyncio.create_task(server._serve())
    try:
        while not server.started:
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        await serving


async def prepared(api: Harness) -> dict[str, str]:
    """An administrator with a group, a direct chat, a device and messages; values of path parameters that exist."""
    hash_ = await api.parts.passwords.hash(ROOTS)
    await api.stores.users.add(User("root", "관리자", hash_, now(), admin=True))
    await api.user("bada")
    root = await api.sign_in("root", ROOTS)
    chat = (await root.post("/v1/chats", {"kind": "group", "title": "산", "members": ["bada"]})).json()["id"]
    for text in ("안녕하세요", "🐎"):
        await root.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": text}})
    await root.post("/v1/devices", {"name": "온도계", "id": "dev-thermo"})
    payload = b'{"id": "01890a5d-ac96-774b-bcce-b302099a8057", "body": {"text": "poison"}}'
    letter = DeadLetter("letter-1", topics.send(chat, "bada"), payload, "it could not be read", 3, now())
    await api.stores.dead_letters.add(letter)
    return {"chat": chat, "user": "bada", "device": "dev-thermo", "letter": "letter-1"}


@pytest.mark.timeout(SECONDS + 60)
@pytest.mark.parametrize(
    "known", [pytest.param(False, id="invented", marks=pytest.mark.long), pytest.param(True, id="existing")]
)
async def test_schemathesis_finds_nothing(tmp_path: Path, mongo_url: str, mongo_database: str, *, known: bool) -> None:
    generous = dict.fromkeys(
        ("login_handle_rate", "login_address_rate", "login_handle_burst", "login_address_burst", "api_burst"), 1e6
    )
    stores = await open_stores(mongo_url, mongo_database)
    try:
        async with running_api(tmp_path, stores, **generous) as api, served(api) as url:
            existing = await prepared(api)
            config = tmp_path / "schemathesis.toml"
            parameters = "\n".join(f'"path.{name}" = "{value}"' for name, value in existing.items()) if known else ""
            config.write_text(f'hooks = "schemathesis_hooks"\n[parameters]\n{parameters}\n')
            code, said = await schemathesis(url, config)
            assert code == 0, said
            assert "  - GET /v1/me\n" not in said, f"it was not signed in:\n{said}"
            assert (await (await api.sign_in("root", ROOTS)).get("/v1/me")).status_code == 200, "it locked itself out"
    finally:
        await stores.close()


async def schemathesis(url: str, config: Path) -> tuple[int, str]:
    """One run of it; its exit code and what it said."""
    arguments = ["--config-file", str(config), "run", f"{url}/openapi.json", "--exclude-checks", REPLACED]
    arguments += [
        "--max-examples",
        str(EXAMPLES),
        "--continue-on-failure",
        "--no-color",
        "--generation-database",
        "none",
    ]
    if not LONG:
        arguments += ["--seed", "20261122"]
    environment = {
        **os.environ,
        "PYTHONPATH": str(Path(__file__).parent),
        "SCHEMATHESIS_TOKEN_URL": f"{url}/v1/auth/token",
        "SCHEMATHESIS_USER": "root",
        "SCHEMATHESIS_PASSWORD": ROOTS,
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "schemathesis.cli",
        *arguments,
        cwd=config.parent,
        env=environment,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    try:
        async with asyncio.timeout(SECONDS):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        pytest.fail("Schemathesis did not end")
    return process.returncode or 0, said.decode(errors="replace")
