"""`pabal broker …` against the admin interface of a broker in this process."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner, Result

from adapters.metrics_http import serve
from broker.admin import Admin, AdminSecret
from stack import broker_cli, credentials, lock
from stack.cli import app
from stack.state import State
from tests.unit.broker.conftest import House, build, house

__all__ = ["build", "house"]


@pytest.fixture
async def state(house: House, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[State]:
    """A state directory on which a stack runs, as far as the command can tell."""
    monkeypatch.setenv("COLUMNS", "200")
    where = State.at(tmp_path / "var")
    where.create()
    credentials.ensure_secret(where.broker_admin)
    admin = Admin(house.broker, AdminSecret(where.broker_admin))
    server = await serve("127.0.0.1:0", CollectorRegistry(), dict, admin=admin)
    metrics = {"broker": f"http://127.0.0.1:{server.port}/metrics"}
    where.stack_file.write_text(json.dumps({"metrics": metrics}))
    with lock.hold(where.lock):
        yield where
    await server.close()


async def pabal(state: State, *args: str) -> Result:
    return await asyncio.to_thread(CliRunner().invoke, app, ["broker", *args, "--state", str(state.root)])


async def test_clients(house: House, state: State) -> None:
    await house.client("user1:phone")
    away = await house.client("user2", properties={"session_expiry_interval": 90})
    away.vanish()
    house.clock.now += 7_200
    said = await pabal(state, "clients")
    assert said.exit_code == 0
    header, row, count = said.stdout.splitlines()
    assert header.split()[:2] == ["client", "id"]
    assert row.split() == ["user1:phone", "user1", "192.0.2.1:1234", "5.0", "2", "h", "0", "0", "0"]
    assert count == "1 in all"
    (only,) = json.loads((await pabal(state, "clients", "--away", "--json")).stdout)
    assert only["client_id"] == "user2"
    assert json.loads((await pabal(state, "clients", "--prefix", "user9", "--json")).stdout) == []


async def test_lists_go_on_over_pages_up_to_the_limit(
    house: House, state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(broker_cli, "PAGE", 2)
    for number in range(7):
        phone = await house.client(f"user1:{number}")
        await phone.subscribe("users/user1/inbox", "chats/g-1/messages")
    assert len(json.loads((await pabal(state, "clients", "--json")).stdout)) == 7
    some = await pabal(state, "clients", "--limit", "3")
    assert some.stdout.splitlines()[-1] == "3 shown, there are more: --limit N"
    rows = json.loads((await pabal(state, "subscriptions", "--json")).stdout)
    assert len({(row["client_id"], row["filter"]) for row in rows}) == 14
    inboxes = await pabal(state, "subscriptions", "--filter", "users/user1/inbox", "--client", "user1:3")
    assert [line.split() for line in inboxes.stdout.splitlines()[1:]] == [
        ["user1:3", "users/user1/inbox", "1"],
        ["1", "in", "all"],
    ]


async def test_one_client(house: House, state: State) -> None:
    bridge = await house.bridge()
    said = (await pabal(state, "client", "svc-bridge")).stdout
    assert "svc-bridge" in said
    assert "$share/bridge/chats/+/send/+" in said
    assert f"{len(bridge.connection.session.subscriptions)} in all" in said
    found = json.loads((await pabal(state, "client", "svc-bridge", "--json")).stdout)
    assert found["connection"]["service"] is True


async def test_kick(house: House, state: State) -> None:
    phone = await house.client("user1:phone", properties={"session_expiry_interval": 90})
    said = await pabal(state, "kick", "user1:phone")
    assert said.stdout.splitlines()[-1] == "user1:phone: disconnected; its session is kept"
    assert phone.closed
    said = await pabal(state, "kick", "user1:phone", "--drop-session")
    assert said.stdout.splitlines()[-1] == "user1:phone: was not connected; its session is gone"
    assert house.broker.core.sessions == {}


@pytest.mark.parametrize("command", [("client", "nobody"), ("kick", "nobody"), ("kick", "../clients", "--json")])
async def test_nobody_is_an_error(state: State, command: tuple[str, ...]) -> None:
    said = await pabal(state, *command)
    assert said.exit_code == 1
    assert "there is no session of this client id" in said.stderr


async def test_without_the_secret_nothing(state: State) -> None:
    state.broker_admin.write_text("x" * 40)
    broken = await pabal(state, "clients")
    assert broken.exit_code == 0, "the broker reads the same file anew"
    state.broker_admin.unlink()
    said = await pabal(state, "clients")
    assert said.exit_code == 1
    assert "can't be read" in said.stderr


async def test_a_broker_that_is_not_there(state: State) -> None:
    state.stack_file.write_text(json.dumps({"metrics": {"broker": "http://127.0.0.1:9/metrics"}}))
    said = await pabal(state, "clients")
    assert said.exit_code == 1
    assert "does not answer" in said.stderr


def test_the_secret_is_made_once_and_its_owners_only(tmp_path: Path) -> None:
    path = tmp_path / "broker-admin"
    credentials.ensure_secret(path)
    made = path.read_text()
    credentials.ensure_secret(path)
    assert path.read_text() == made
    assert len(made.strip()) >= 43
    assert path.stat().st_mode & 0o777 == 0o600
