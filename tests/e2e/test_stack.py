"""`pabal up` for real: mongod, Valkey, the FCM emulator and our own processes."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

from stack import child, ports
from stack.ports import Address
from stack.processes import REPOSITORY
from stack.testing import RunningStack

pytestmark = pytest.mark.e2e

Stacks = Callable[..., RunningStack]

PROCESSES = ["mongod", "valkey", "fcm", "broker", "bridge", "api", "worker"]


def pabal(*args: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "stack", *args]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120)


def until(condition: Callable[[], Any], what: str) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.05)


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def family(pid: int) -> set[int]:
    """A process and all that descend from it."""
    process = psutil.Process(pid)
    return {pid, *(descendant.pid for descendant in process.children(recursive=True))}


class Person:
    """A demo user at the REST API."""

    def __init__(self, stack: RunningStack, user: int = 0) -> None:
        credential = stack.credentials["users"][user]
        self.api = httpx.Client(base_url=stack.info["api"], timeout=30, trust_env=False)
        form = {"grant_type": "password", "username": credential["handle"], "password": credential["password"]}
        self.token = self.api.post("/v1/auth/token", data=form).raise_for_status().json()["access_token"]
        self.api.headers["Authorization"] = f"Bearer {self.token}"

    def chat(self) -> str:
        body = {"kind": "group", "title": "가족", "members": ["bada"]}
        chat: str = self.api.post("/v1/chats", json=body).raise_for_status().json()["id"]
        return chat

    def say(self, chat: str, text: str) -> str:
        message: dict[str, Any] = {"id": str(uuid.uuid4()), "type": "message", "body": {"text": text}}
        self.api.post(f"/v1/chats/{chat}/messages", json=message).raise_for_status()
        return str(message["id"])

    def history(self, chat: str) -> str:
        return self.api.get(f"/v1/chats/{chat}/messages").raise_for_status().text


def test_stack_json_says_what_runs_where(stack: RunningStack) -> None:
    info = stack.refresh()
    assert set(info) == {
        *("api", "mqtt_host", "mqtt_port", "ws_url", "tls", "mongo_url", "mongo_nodes", "valkey_url", "processes"),
        *("fcm_url", "credentials", "state", "started_at", "metrics"),
    }
    assert list(info["processes"]) == PROCESSES
    assert all(alive(pid) for pid in info["processes"].values())
    assert info["ws_url"].endswith("/mqtt")
    assert info["tls"] is None
    assert info["state"] == str(stack.state.root)
    assert json.loads(Path(info["credentials"]).read_text()) == stack.credentials
    assert datetime.fromisoformat(info["started_at"]).utcoffset() is not None


def test_everything_that_is_listed_answers(stack: RunningStack) -> None:
    info = stack.refresh()
    assert list(info["metrics"]) == ["api", "broker", "bridge", "worker"]
    for url in info["metrics"].values():
        assert "# HELP" in httpx.get(url, trust_env=False).raise_for_status().text
        httpx.get(url.replace("/metrics", "/healthz"), trust_env=False).raise_for_status()
    assert "/v1/chats" in httpx.get(f"{info['api']}/openapi.json", trust_env=False).raise_for_status().text
    assert info["fcm_url"]
    httpx.get(f"{info['fcm_url']}/healthz", trust_env=False).raise_for_status()


def test_doctor_finds_nothing_wrong(stack: RunningStack) -> None:
    answer = pabal("doctor", "--state", str(stack.state.root), "--json")
    report = json.loads(answer.stdout)
    assert [check for check in report["checks"] if not check["ok"]] == []
    assert answer.returncode == 0
    names = {check["name"] for check in report["checks"]}
    assert {"sign-in", "broker TCP", "broker WebSocket", "mongo", "valkey", "keys", "disk", "bridge"} <= names


def test_status_lists_the_processes(stack: RunningStack) -> None:
    answer = pabal("status", "--state", str(stack.state.root))
    assert answer.returncode == 0
    for name, pid in stack.refresh()["processes"].items():
        assert any(line.split()[:2] == [name, str(pid)] for line in answer.stdout.splitlines())
    as_json = pabal("status", "--state", str(stack.state.root), "--json")
    assert json.loads(as_json.stdout) == stack.info


def test_the_broker_can_be_looked_into(stack: RunningStack) -> None:
    answer = pabal("broker", "clients", "--state", str(stack.state.root), "--json")
    assert {row["principal"] for row in json.loads(answer.stdout)} >= {"svc-bridge", "svc-api"}
    url = stack.info["metrics"]["broker"].replace("/metrics", "/admin/clients")
    assert httpx.get(url, trust_env=False).status_code == 401


def test_logs_of_each_process_can_be_read(stack: RunningStack) -> None:
    answer = pabal("logs", "broker", "--state", str(stack.state.root))
    assert answer.returncode == 0
    assert f"pid {stack.refresh()['processes']['broker']}" in answer.stdout


def test_no_password_and_no_secret_is_in_a_log(stack: RunningStack) -> None:
    people = [stack.credentials["admin"], *stack.credentials["users"]]
    secrets = [person["password"] for person in people]
    secrets += [path.read_text().strip() for path in stack.state.directory("services").iterdir()]
    assert len(secrets) == 6
    logs = [*stack.state.directory("log").iterdir(), stack.state.root / "up.log"]
    for log in logs:
        text = log.read_text(errors="replace")
        assert not [secret for secret in secrets if secret in text], log


@pytest.mark.skipif(sys.platform != "linux", reason="read from /proc")
def test_processes_may_open_as_many_files_as_the_system_allows(stack: RunningStack) -> None:
    hard = psutil.Process().rlimit(psutil.RLIMIT_NOFILE)[1]
    for pid in stack.refresh()["processes"].values():
        soft = psutil.Process(pid).rlimit(psutil.RLIMIT_NOFILE)[0]
        assert soft >= (child.MOST_FILES if hard == psutil.RLIM_INFINITY else min(hard, child.MOST_FILES))


def test_its_ports_are_refused_to_another_stack(stack: RunningStack, tmp_path: Path) -> None:
    info = stack.refresh()
    answer = pabal("up", "--state", str(tmp_path), "--port-base", str(info["mqtt_port"]))
    assert answer.returncode == 1
    assert f"port {info['mqtt_port']} (MQTT over TCP) is in use by" in answer.stderr
    assert f"(pid {info['processes']['broker']})" in answer.stderr
    assert f"(pid {info['processes']['mongod']})" in answer.stderr
    assert "--port-base" in answer.stderr
    assert not (tmp_path / "mongo" / "WiredTiger").exists(), "nothing was started"


def test_its_state_is_refused_to_another_supervisor(stack: RunningStack) -> None:
    answer = pabal("up", "--state", str(stack.state.root), "--port-base", str(ports.free_port_base()))
    assert answer.returncode == 1
    assert f"(pid {stack.process.pid})" in answer.stderr
    assert stack.refresh()["processes"], "the first one goes on"


def test_two_stacks_run_side_by_side_and_share_nothing(stack: RunningStack, own_stack: Stacks) -> None:
    other = own_stack()
    mine, theirs = Person(stack), Person(other)
    assert stack.credentials["admin"]["password"] != other.credentials["admin"]["password"]
    chat = theirs.chat()
    theirs.say(chat, "여기는 다른 집")
    assert "다른 집" in theirs.history(chat)
    assert mine.api.get(f"/v1/chats/{chat}/messages").status_code == 404
    foreign = {"Authorization": f"Bearer {theirs.token}"}
    assert mine.api.get("/v1/me", headers=foreign).status_code == 401, "each has signing keys of its own"
    assert not family(stack.process.pid) & family(other.process.pid)


def test_what_was_said_survives_the_death_of_everything_and_other_ports(own_stack: Stacks, tmp_path: Path) -> None:
    root = tmp_path / "집"
    first = own_stack(root)
    person = Person(first)
    chat = person.chat()
    message = person.say(chat, "안녕하세요 👋🏽")
    everything = family(first.process.pid)
    assert len(everything) > len(PROCESSES) + 2, "the worker has processes of its own"
    first.process.kill()
    until(lambda: all_gone(everything - {first.process.pid}), "somebody outlived the supervisor")

    second = own_stack(root)
    assert second.info["mqtt_port"] != first.info["mqtt_port"]
    assert second.credentials == first.credentials
    again = Person(second)
    assert message in again.history(chat)
    assert "안녕하세요 👋🏽" in again.history(chat)
    again.api.headers["Authorization"] = f"Bearer {person.token}"
    assert again.api.get("/v1/me").status_code == 200, "the signing keys are the same"

    everything = family(second.process.pid)
    answer = pabal("down", "--state", str(root))
    assert answer.returncode == 0
    assert second.process.wait(10) == 0
    assert all_gone(everything)
    assert not second.state.stack_file.exists()
    for port in ports.shifted(second.info["mqtt_port"]).values():
        assert ports.can_bind(Address("127.0.0.1", port))


def restarted(stack: RunningStack, name: str, before: int) -> bool:
    return stack.refresh()["processes"].get(name) not in (None, before)


def all_gone(pids: set[int]) -> bool:
    return not any(map(alive, pids))


@pytest.mark.faults
def test_each_process_that_is_killed_comes_back_without_leaving_anything(own_stack: Stacks) -> None:
    stack = own_stack()
    for name in PROCESSES:
        old = family(stack.refresh()["processes"][name])
        before = stack.kill(name)
        until(partial(restarted, stack, name, before), f"{name} does not come back")
        until(partial(all_gone, old), f"children of {name} live on")
        assert f"{name} was killed by SIGKILL; it is started again" in stack.output()
    until(lambda: pabal("doctor", "--state", str(stack.state.root)).returncode == 0, "it does not become healthy again")
    person = Person(stack)
    chat = person.chat()
    assert person.say(chat, "다시") in person.history(chat)
    assert stack.stop() == 0


@pytest.mark.parametrize("after", ["mongod", "bootstrap", "broker"])
def test_the_end_can_come_while_it_starts(after: str, tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "stack", "up", "--state", str(tmp_path), "--port-base", str(ports.free_port_base())]
    with subprocess.Popen(argv, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if after in line:
                break
        started = family(process.pid)
        process.terminate()
        process.stdout.read()
        assert process.wait(60) == 0
    assert all_gone(started)
    assert not (tmp_path / "stack.json").exists()
