"""compose.yaml on a real engine (`make test-compose`): it comes up, it is confined, the demo passes, also after parts were killed."""

from __future__ import annotations

import json
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from types import MappingProxyType
from typing import Any

import httpx
import pytest

from clients.demo.story import STORY
from tests.compose.project import Project, running

pytestmark = [pytest.mark.compose, pytest.mark.timeout(2400)]

EVERYTHING_IMPORTS = """
import importlib, os, pkgutil
os.environ.update(PABAL_MONGO_URL="mongodb://nowhere", PABAL_LINK_SECRET_FILE="/nowhere")
for root in "adapters api bridge broker chat clients mqtt stack workers".split():
    for module in pkgutil.walk_packages(importlib.import_module(root).__path__, root + "."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)
import kombu.transport.redis
"""


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Project]:
    with running(tmp_path_factory.mktemp("compose")) as found:
        yield found


def failed(steps: list[dict[str, Any]]) -> list[dict[str, Any]]:
    assert [step["name"] for step in steps] == [step.name for step in STORY]
    return [step for step in steps if not step["ok"]]


def test_everything_runs_and_the_demo_passes(project: Project) -> None:
    found = Counter(one.labels["com.docker.compose.service"] for one in project.containers())
    alone = ("mongo1", "mongo2", "mongo3", "valkey", "broker", "beat", "proxy", "prometheus", "fcm")
    assert found == {**dict.fromkeys(alone, 1), "bridge": 2, "api": 2, "worker": 2}
    assert failed(project.demo()) == []


def test_the_kernel_confines_every_process(project: Project) -> None:
    for container in project.containers():
        host = container.attrs["HostConfig"]
        assert host["Memory"] > 0, container.name
        assert host["NanoCpus"] > 0, container.name
        assert host["PidsLimit"] > 0, container.name
        status = container.exec_run(["cat", "/proc/1/status"]).output.decode()
        found = dict(re.findall(r"^(\w+):\s+(\S+)", status, re.MULTILINE))
        assert found["Uid"] != "0", container.name
        assert (int(found["CapEff"], 16), int(found["CapBnd"], 16)) == (0, 0), container.name
        assert found["NoNewPrivs"] == "1", container.name
        assert host["ReadonlyRootfs"] is True, container.name
        for place in ("/etc", "/usr/bin"):  # not even by root, whose they are
            assert container.exec_run(["touch", f"{place}/written"], user="0").exit_code == 1, container.name


def test_no_secret_is_told_by_the_engine(project: Project) -> None:
    secrets = [file.read_text().strip() for file in (project.root / "secrets").iterdir()]
    for container in project.containers(everything=True):
        told = str(container.attrs)
        assert not [secret for secret in secrets if secret in told], container.name
        assert not [secret for secret in secrets if secret.encode() in container.logs()], container.name


def test_the_image_is_whole_and_holds_no_tools(project: Project) -> None:
    broker = project.containers("broker")[0]
    whole = broker.exec_run(["python", "-c", EVERYTHING_IMPORTS])
    assert whole.exit_code == 0, whole.output.decode()
    for tool in ("gcc", "cc", "mongod", "valkey-server", "pytest"):
        assert broker.exec_run(["sh", "-c", f"command -v {tool}"]).exit_code != 0, tool
    assert broker.exec_run(["python", "-c", "import pip"]).exit_code != 0


def test_strangers_reach_the_broker_and_the_proxy_only(project: Project) -> None:
    published = {
        (one.labels["com.docker.compose.service"], port.split("/")[0])
        for one in project.containers()
        for port, bound in one.ports.items()
        if bound
    }
    assert published == {
        *(("broker", "1883"), ("broker", "8083"), ("proxy", "8080"), ("prometheus", "9090"), ("fcm", "8099"))
    }
    assert httpx.get(f"{project.addresses['api']}/metrics").status_code == 404
    # Nobody gets a word out of the database without being told who asks, and it has no way out of its network.
    mongo = project.containers("mongo1")[0]
    assert list(mongo.attrs["NetworkSettings"]["Networks"]) == [f"{project.name}_data"]
    assert project.client.networks.get(f"{project.name}_data").attrs["Internal"] is True


def test_an_api_knows_who_asks_and_believes_nobody_but_the_proxy(project: Project) -> None:
    """Limits go by address: all people as one, or everybody as they like to be called, would be as good as none."""
    with _administrator(project, headers={"X-Forwarded-For": "203.0.113.7"}) as admin:
        sessions = admin.get("/v1/me/sessions").raise_for_status().json()["items"]
    assert len(sessions) == 1
    outside = project.client.networks.get(f"{project.name}_outside").attrs["IPAM"]["Config"][0]
    assert sessions[0]["address"] == outside["Gateway"]  # as this machine looks from there


def test_prometheus_finds_every_process(project: Project) -> None:
    wanted = {"broker": 1, "bridge": 2, "api": 2, "worker": 3}
    deadline = time.monotonic() + 120
    while (up := _up(project)) != wanted:
        assert time.monotonic() < deadline, up
        time.sleep(1.0)


def _up(project: Project) -> dict[str, int]:
    answer = httpx.get(f"{project.addresses['prometheus']}/api/v1/query", params={"query": "sum by (job) (up)"})
    rows = answer.json()["data"]["result"]
    processes = ("broker", "bridge", "api", "worker")
    return {row["metric"]["job"]: int(row["value"][1]) for row in rows if row["metric"]["job"] in processes}


def test_with_one_bridge_and_one_api_killed_the_demo_passes(project: Project) -> None:
    """Killed through the engine they stay away, so what is left does all of it."""
    for service in ("bridge", "api"):
        project.containers(service)[0].kill()
        assert len(project.containers(service)) == 1
    assert failed(project.demo()) == []


def test_without_valkey_the_proxy_goes_on_asking_the_apis(project: Project) -> None:
    """They say at `/healthz` that something is away, and work all the same: none of them may be taken for dead."""
    project.containers("valkey")[0].kill()
    deadline = time.monotonic() + 30  # several rounds of the proxy's checks
    while time.monotonic() < deadline:
        with _administrator(project) as admin:
            assert admin.get("/v1/chats").status_code == 200
        time.sleep(1.0)
    assert httpx.get(f"{project.addresses['api']}/healthz", timeout=30).json()["valkey"] is False


def test_started_again_everything_is_well_and_the_data_are_there(project: Project) -> None:
    """What an upgrade does: every container anew, on the volumes of before."""
    before = {one.id for one in project.containers()}
    with _administrator(project) as admin:
        chat = admin.post("/v1/chats", json={"kind": "group", "title": "이사"}).raise_for_status().json()["id"]
        message = {"id": str(uuid.uuid4()), "type": "message", "body": {"text": "다시 만나요"}}
        admin.post(f"/v1/chats/{chat}/messages", json=message).raise_for_status()
        project.compose("up", "-d", "--force-recreate", seconds=600)
        project.until_well()
        assert not before & {one.id for one in project.containers()}
        # The token of before is good still: the same key, the same sign-in.
        assert "다시 만나요" in admin.get(f"/v1/chats/{chat}/messages").raise_for_status().text
    assert failed(project.demo()) == []


@contextmanager
def _administrator(project: Project, headers: Mapping[str, str] = MappingProxyType({})) -> Iterator[httpx.Client]:
    who = json.loads((project.root / "secrets" / "credentials.json").read_text())["admin"]
    form = {"grant_type": "password", "username": who["handle"], "password": who["password"]}
    with httpx.Client(base_url=project.addresses["api"], timeout=30, trust_env=False, headers=headers) as client:
        token = client.post("/v1/auth/token", data=form).raise_for_status().json()["access_token"]
        client.headers["Authorization"] = f"Bearer {token}"
        yield client
