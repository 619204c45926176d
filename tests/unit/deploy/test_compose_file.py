"""compose.yaml, without an engine: each container is as confined as it should be, and what it names is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from stack.processes import REPOSITORY

FILES = ["compose.yaml", "deploy/compose.demo.yaml", "deploy/compose.alerts.yaml"]
ONCE = {"mongo-init", "bootstrap"}
"""What ends when it has done its work."""
OVERRIDES = [f"deploy/compose.{name}.yaml" for name in ("alerts", "demo", "fcm", "tls")]
WRITTEN_BY_HAND = {"slack-api-url", "pagerduty-routing-key", "fcm-service-account.json", "tls-chain", "tls-key"}
PUBLIC = {"broker", "proxy"}
"""What other machines may reach."""


def _read(name: str) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((REPOSITORY / name).read_text())
    return found


def _services() -> Iterator[tuple[str, dict[str, Any]]]:
    """Each service where it is described whole (an override names an image again only for a service of its own)."""
    for file in FILES:
        yield from ((name, one) for name, one in _read(file)["services"].items() if "image" in one)


SERVICES = dict(_services())


def _default(text: str) -> str:
    """With every `${NAME:-value}` as it is when nobody sets NAME."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def _ours(service: Mapping[str, Any]) -> bool:
    return _default(service["image"]).startswith("pabal:")


def problems(name: str, service: Mapping[str, Any]) -> list[str]:
    """What is not as it should be about one service."""
    user = str(service.get("user", "root")).split(":")[0]
    tag = _default(service["image"]).rpartition(":")[2]
    logging = service.get("logging", {}).get("options", {})
    wrong = {
        "runs as root": not user.isdecimal() or int(user) == 0,
        "has a file system that can be written": service.get("read_only") is not True,
        "has no bounded place for scratch files": not any("size=" in one for one in service.get("tmpfs", [])),
        "has capabilities": service.get("cap_drop") != ["ALL"] or "cap_add" in service,
        "may gain privileges": service.get("security_opt") != ["no-new-privileges:true"],
        "is privileged": service.get("privileged", False) or "devices" in service,
        "shares something of the host": any(key in service for key in ("network_mode", "pid", "ipc", "userns_mode")),
        "may use any amount of memory": "mem_limit" not in service,
        "may use any number of processors": "cpus" not in service,
        "may start any number of processes": "pids_limit" not in service,
        "fills the disk with its log": not {"max-size", "max-file"} <= set(logging),
        "has no health check": name not in ONCE and not _ours(service) and "healthcheck" not in service,
        "is not started again": service.get("restart") != ("no" if name in ONCE else "unless-stopped"),
        "has no version": re.match(r"v?\d+\.\d+", tag) is None,
        "has a network of the default": not service.get("networks"),
    }
    return [what for what, is_so in wrong.items() if is_so]


@pytest.mark.parametrize("name", SERVICES)
def test_a_container_is_confined(name: str) -> None:
    assert problems(name, SERVICES[name]) == []


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"user": "0:0"}, "runs as root"),
        ({"user": "root"}, "runs as root"),
        ({"read_only": False}, "has a file system that can be written"),
        ({"cap_add": ["NET_ADMIN"]}, "has capabilities"),
        ({"network_mode": "host"}, "shares something of the host"),
        ({"image": "valkey/valkey:latest"}, "has no version"),
        ({"image": "valkey/valkey"}, "has no version"),
    ],
)
def test_a_container_that_is_not_is_found(change: dict[str, Any], problem: str) -> None:
    assert problems("valkey", SERVICES["valkey"] | change) == [problem]


@pytest.mark.parametrize("key", ["user", "cap_drop", "security_opt", "mem_limit", "cpus", "pids_limit", "logging"])
def test_a_bound_that_is_missing_is_found(key: str) -> None:
    assert len(problems("broker", {name: value for name, value in SERVICES["broker"].items() if name != key})) == 1


def test_there_are_two_bridges_two_apis_and_one_clock() -> None:
    scales = {name: SERVICES[name].get("scale", 1) for name in ("bridge", "api", "broker", "beat")}
    assert scales == {"bridge": 2, "api": 2, "broker": 1, "beat": 1}
    assert {name for name in SERVICES if SERVICES[name].get("profiles")} == {"grafana"}


def test_only_broker_and_proxy_can_be_published_and_nothing_is_by_default() -> None:
    for name, service in SERVICES.items():
        for port in service.get("ports", []):
            assert _default(port).startswith("127.0.0.1:"), port
            assert name in PUBLIC or port.startswith("127.0.0.1:"), f"{name} asks for no password: this machine only"


def test_the_database_is_reached_by_our_processes_only() -> None:
    networks = _read("compose.yaml")["networks"]
    assert {name for name, one in networks.items() if not one.get("internal")} == {"outside"}
    on_data = {name for name, one in SERVICES.items() if "data" in one["networks"]}
    assert on_data - {"mongo1", "mongo2", "mongo3", "valkey"} == {
        *("mongo-init", "bootstrap", "broker", "bridge", "api", "worker", "beat"),
    }
    assert all(SERVICES[name]["networks"] == ["data"] for name in ("mongo1", "mongo2", "mongo3", "valkey"))
    assert {name for name, one in SERVICES.items() if "edge" in one["networks"]} == {"proxy", "api"}


# ---- secrets


def _secrets(service: Mapping[str, Any]) -> set[str]:
    return {one if isinstance(one, str) else one["source"] for one in service.get("secrets", [])}


def test_nothing_secret_stands_in_the_environment() -> None:
    for name, service in SERVICES.items():
        for variable, value in service.get("environment", {}).items():
            secret = re.search(r"PASSWORD|SECRET|TOKEN|KEY|MONGO_URL|VALKEY_URL", variable)
            assert not secret or str(value).startswith("/run/secrets/") or "_DIR" in variable, f"{name}: {variable}"
            assert not re.search(r"//[^/]*@", str(value)), f"{name}: {variable}"


def test_each_process_has_its_own_secret_and_no_other_process_s() -> None:
    own = {"bridge": "svc-bridge", "api": "svc-api", "worker": "svc-worker", "beat": "svc-worker"}
    for name, secret in own.items():
        assert {one for one in _secrets(SERVICES[name]) if one.startswith("svc-")} == {secret}, name
    # Who may sign for anybody: private keys are where tokens are made, and nowhere else.
    with_keys = {
        name for name, one in SERVICES.items() if any(str(v).startswith("keys:") for v in one.get("volumes", []))
    }
    assert with_keys == {"bootstrap", "api"}
    assert "keys:/var/lib/pabal/keys:ro" in SERVICES["api"]["volumes"]
    assert {name for name, one in SERVICES.items() if "mongo-key" in _secrets(one)} == {
        *("mongo1", "mongo2", "mongo3", "mongo-init")
    }


@pytest.fixture
def made(tmp_path: Path) -> Path:
    directory = tmp_path / "secrets"
    subprocess.run(["sh", REPOSITORY / "deploy" / "secrets.sh", directory], check=True, capture_output=True)
    return directory


def test_every_secret_is_made_or_written_by_hand(made: Path) -> None:
    declared = {
        name: _default(one["file"])
        for file in ["compose.yaml", *OVERRIDES]
        for name, one in _read(file).get("secrets", {}).items()
    }
    assert declared == {name: f"./deploy/secrets/{name}" for name in declared}
    assert {path.name for path in made.iterdir()} == set(declared) - WRITTEN_BY_HAND
    assert set().union(*map(_secrets, SERVICES.values())) <= set(declared)


def test_made_secrets_are_their_owner_s_fit_together_and_stay(made: Path) -> None:
    assert made.stat().st_mode & 0o777 == 0o700
    before = {path.name: path.read_text() for path in made.iterdir()}
    assert len(set(before.values())) == len(before)
    assert min(map(len, before.values())) > 30
    password = before["valkey-auth"].split()[1]
    assert before["PABAL_VALKEY_URL"] == f"redis://:{password}@valkey:6379/0"
    key = before["mongo-key"]
    assert re.fullmatch(r"[A-Za-z0-9+/]{6,1024}", key)
    again = subprocess.run(
        ["sh", REPOSITORY / "deploy" / "secrets.sh", made], check=True, capture_output=True, text=True
    )
    assert again.stdout == ""
    assert {path.name: path.read_text() for path in made.iterdir()} == before


# ---- what is named is there


def test_every_file_that_is_mounted_is_there() -> None:
    sources = set()
    for service in SERVICES.values():
        for source, _, mode in (one.split(":") for one in service.get("volumes", []) if one.startswith("./")):
            sources.add(source)
            assert mode == "ro", source
    assert len(sources) >= 5
    assert [source for source in sorted(sources) if not (REPOSITORY / source).exists()] == []


def test_the_image_has_the_version_of_the_project() -> None:
    version = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]["version"]
    images = {_default(one["image"]) for one in SERVICES.values() if _ours(one)}
    assert images == {f"pabal:{version}"}


def test_each_command_is_a_process_that_the_image_knows(tmp_path: Path) -> None:
    """The entrypoint itself, with a program in Python's place that says how it was called."""
    python = tmp_path / "python"
    python.write_text('#!/bin/sh\necho "$PABAL_WORKER_BEAT" "$@"\n')
    python.chmod(0o755)

    def process(*command: str) -> subprocess.CompletedProcess[str]:
        env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "PABAL_WORKER_BEAT": ""}
        argv = [REPOSITORY / "deploy" / "image" / "process", *command]
        return subprocess.run(argv, env=env, capture_output=True, text=True, check=False)

    commands = {name: one["command"] for name, one in SERVICES.items() if _ours(one)}
    for name, command in commands.items():
        done = process(*command)
        assert done.returncode == 0, f"{name}: {done.stderr}"
        module = done.stdout.split("-m ")[1].split()[0]
        assert (REPOSITORY / module.replace(".", "/")).exists() or (
            REPOSITORY / f"{module.replace('.', '/')}.py"
        ).exists()
    assert process("worker").stdout == "false -m workers\n"
    assert process("beat").stdout == "true -m workers\n"
    assert process("keys", "rotate").stdout == " -m api.keys rotate\n"
    unknown = process("brokre")
    assert unknown.returncode == 64
    assert "brokre" in unknown.stderr
    assert process().returncode == 64


@pytest.mark.skipif(shutil.which("docker-compose") is None, reason="no docker-compose here")
def test_docker_compose_understands_it() -> None:
    argv = ["docker-compose", "-f", "compose.yaml", *(word for file in OVERRIDES for word in ("-f", file)), "config"]
    done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    merged = yaml.safe_load(done.stdout)["services"]
    assert set(merged) == set(SERVICES)
    for name, service in merged.items():  # an override takes nothing away
        assert service["user"] == SERVICES[name]["user"]
        assert set(SERVICES[name].get("environment", {})) <= set(service.get("environment", {}))
        assert len(service.get("secrets", [])) >= len(SERVICES[name].get("secrets", []))
