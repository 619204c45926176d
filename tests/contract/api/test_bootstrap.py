"""`python -m api.bootstrap` and `python -m api` as processes, on a real MongoDB."""

from __future__ import annotations

import json
import os
import signal
import stat
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import httpx
import pytest

import api
from adapters.mongo import open_stores

ROOT = Path(str(api.__file__)).parents[1]
ADMIN = {"handle": "root", "password": "아주 긴 비밀번호"}
DEMO = {"handle": "haneul", "password": "파발은 밤에도 달린다", "display_name": "김하늘"}


@pytest.fixture
def environment(tmp_path: Path, mongo_url: str, mongo_database: str, free_port: Callable[[], int]) -> dict[str, str]:
    return {
        **{name: value for name, value in os.environ.items() if not name.startswith("PABAL_")},
        "PABAL_MONGO_URL": mongo_url,
        "PABAL_MONGO_DATABASE": mongo_database,
        "PABAL_KEYS_DIR": str(tmp_path / "keys"),
        "PABAL_JWKS_FILE": str(tmp_path / "jwks.json"),
        "PABAL_SERVICES_DIR": str(tmp_path / "services"),
        "PABAL_LINK_SECRET_FILE": str(tmp_path / "services" / "svc-api"),
        "PABAL_ARGON2_MEMORY_KIB": "8",
        "PABAL_API_BIND": f"127.0.0.1:{free_port()}",
        "PABAL_MQTT_PORT": str(free_port()),  # nobody is there
        "PABAL_VALKEY_URL": f"redis://127.0.0.1:{free_port()}/0",
    }


def bootstrap(environment: Mapping[str, str], directory: Path, credentials: object) -> subprocess.CompletedProcess[str]:
    file = directory / "credentials.json"
    file.write_text(json.dumps(credentials))
    command = [sys.executable, "-m", "api.bootstrap", "--credentials", str(file)]
    return subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )


def files(directory: Path) -> dict[str, bytes]:
    return {
        str(path.relative_to(directory)): path.read_bytes()
        for name in ("keys", "services", "jwks.json")
        for path in ([directory / name] if (directory / name).is_file() else (directory / name).iterdir())
    }


async def test_a_first_start_and_a_second(tmp_path: Path, environment: dict[str, str]) -> None:
    wanted = {"admin": ADMIN, "users": [DEMO]}
    first = bootstrap(environment, tmp_path, wanted)
    assert first.returncode == 0, first.stderr
    made = files(tmp_path)
    services = {name for name in made if name.startswith("services/")}
    assert services == {"services/svc-bridge", "services/svc-api", "services/svc-worker"}
    assert len({made[name] for name in services}) == 3
    for name in made:
        assert stat.S_IMODE((tmp_path / name).stat().st_mode) == (0o644 if name == "jwks.json" else 0o600), name
    secrets = [made[name].decode() for name in services] + [ADMIN["password"], DEMO["password"]]
    assert not any(secret in first.stdout + first.stderr for secret in secrets)

    second = bootstrap(environment, tmp_path, {"admin": {**ADMIN, "password": "another password"}, "users": [DEMO]})
    assert second.returncode == 0, second.stderr
    assert files(tmp_path) == made
    assert "made" not in second.stdout

    stores = await open_stores(environment["PABAL_MONGO_URL"], environment["PABAL_MONGO_DATABASE"])
    root, haneul = await stores.users.get("root"), await stores.users.get("haneul")
    await stores.close()
    assert root is not None
    assert haneul is not None
    assert (root.admin, haneul.admin, haneul.display_name) == (True, False, "김하늘")


@pytest.mark.parametrize(
    "wanted",
    [
        {"admin": {"handle": "root", "password": "short77"}},
        {"admin": {"handle": "svc-root", "password": "long enough"}},
        {"users": [{"password": "long enough"}]},
        [],
    ],
)
def test_wrong_credentials_are_told_without_their_values(
    tmp_path: Path, environment: dict[str, str], wanted: object
) -> None:
    done = bootstrap(environment, tmp_path, wanted)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "short77" not in done.stdout + done.stderr
    assert "long enough" not in done.stdout + done.stderr


def test_a_missing_setting_is_named(tmp_path: Path, environment: dict[str, str]) -> None:
    del environment["PABAL_KEYS_DIR"]
    done = bootstrap(environment, tmp_path, {})
    assert done.returncode == 1
    assert "keys_dir" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_process_serves_without_broker_and_valkey_and_ends_with_0(
    tmp_path: Path, environment: dict[str, str], number: signal.Signals
) -> None:
    assert bootstrap(environment, tmp_path, {"users": [DEMO]}).returncode == 0
    url = f"http://{environment['PABAL_API_BIND']}"
    with (tmp_path / "log").open("wb") as log:
        process = subprocess.Popen([sys.executable, "-m", "api"], env=environment, stdout=log, stderr=log, cwd=ROOT)
    try:
        with httpx.Client(base_url=url, trust_env=False, timeout=10) as client:
            health = answering(client, process)
            assert (health.status_code, health.json()) == (503, {"mongo": True, "valkey": False, "link": False})
            form = {"grant_type": "password", "username": "haneul", "password": DEMO["password"]}
            tokens = client.post("/v1/auth/token", data=form).json()  # the limits fall back to this process
            client.headers["Authorization"] = f"Bearer {tokens['access_token']}"
            assert client.get("/v1/me").json()["display_name"] == "김하늘"
            chat = client.post("/v1/chats", json={"kind": "group"}).json()["id"]
            wish = {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "body": {"text": "안녕"}}
            sent = client.post(f"/v1/chats/{chat}/messages", json=wish)
            assert (sent.status_code, sent.json()["code"]) == (503, "unavailable")
        process.send_signal(number)
        assert process.wait(20) == 0
    finally:
        process.kill()
        process.wait()
    logged = (tmp_path / "log").read_text()
    assert "Traceback" not in logged, logged
    for secret in (tokens["access_token"], tokens["refresh_token"], DEMO["password"], "안녕"):
        assert secret not in logged


def answering(client: httpx.Client, process: subprocess.Popen[bytes]) -> httpx.Response:
    deadline = time.monotonic() + 30
    while True:
        try:
            return client.get("/healthz")
        except httpx.TransportError:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)


@pytest.mark.parametrize("missing", ["PABAL_LINK_SECRET_FILE", "PABAL_KEYS_DIR", "PABAL_MONGO_URL"])
def test_a_process_that_can_not_start_says_why_in_a_line(
    tmp_path: Path, environment: dict[str, str], missing: str
) -> None:
    """One setting points to nothing, then it is not there at all."""
    assert bootstrap(environment, tmp_path, {}).returncode == 0
    environment["PABAL_VALKEY_URL"] = "redis://user:hush-hush@127.0.0.1:1/0"
    if missing != "PABAL_MONGO_URL":
        environment[missing] = str(tmp_path / "nothing")
        done = run_api(environment)
        assert done.returncode == 1
        assert "api.not_started" in done.stderr
        assert "nothing" in done.stderr
        assert "Traceback" not in done.stderr
    del environment[missing]
    done = run_api(environment)
    assert done.returncode == 1
    assert missing.removeprefix("PABAL_").lower() in done.stderr
    assert "Traceback" not in done.stderr
    assert "hush" not in done.stderr


def run_api(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "api"]
    return subprocess.run(
        command, env=dict(environment), capture_output=True, text=True, timeout=60, check=False, cwd=ROOT
    )
