"""compose.yaml as a project of the test's own: its ports, its secrets, its network, and nothing left of it afterwards."""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import docker
import pytest
from docker.errors import DockerException
from docker.models.containers import Container

from stack import ports
from stack.processes import REPOSITORY

FILES = ("-f", "compose.yaml", "-f", "deploy/compose.demo.yaml")
SUBNET = "10.213.8.0/24"
"""Not that of a project which runs on this engine already."""
NOFILE = 65_536

UP_SECONDS = 600.0
BUILD_SECONDS = 900.0
DEMO_SECONDS = 240.0


def engine() -> docker.DockerClient:
    """The engine of DOCKER_HOST; the test is skipped where there is none."""
    try:
        client = docker.from_env(timeout=120)
        client.ping()
    except DockerException as error:
        pytest.skip(f"no container engine answers ({type(error).__name__}); DOCKER_HOST says where one is")
    return client


def compose_command() -> list[str]:
    """`docker compose`, or the older `docker-compose`; the test is skipped where there is neither."""
    for argv in (["docker", "compose"], ["docker-compose"]):
        if (
            shutil.which(argv[0])
            and subprocess.run([*argv, "version"], capture_output=True, check=False).returncode == 0
        ):
            return argv
    pytest.skip("neither `docker compose` nor docker-compose is here")


@dataclass
class Project:
    """What runs; `addresses` is what the demo reads of a stack."""

    client: docker.DockerClient
    name: str
    root: Path
    addresses: dict[str, Any]
    env: dict[str, str]
    command: list[str] = field(default_factory=compose_command)

    def compose(self, *args: str, seconds: float) -> None:
        """One command; the test fails with what it says, and with the last lines of the containers."""
        argv = [*self.command, "-p", self.name, *FILES, *args]
        done = subprocess.run(
            argv, cwd=REPOSITORY, env=self.env, capture_output=True, text=True, check=False, timeout=seconds
        )
        if done.returncode:
            said = f"{done.stdout[-2000:]}\n{done.stderr[-3000:]}"
            pytest.fail(f"{' '.join(args)}: {said}\n{self.last_lines()}\nNo registry? See deploy/local-images.sh")

    def containers(self, service: str = "", *, everything: bool = False) -> list[Container]:
        """The containers of a service, or of all; with those that have ended only if they are asked for."""
        labels = [f"com.docker.compose.project={self.name}"]
        if service:
            labels.append(f"com.docker.compose.service={service}")
        found: list[Container] = self.client.containers.list(all=everything, filters={"label": labels})
        return found

    def unwell(self) -> dict[str, str]:
        """What is neither healthy nor done with its work."""
        found = {}
        for container in self.containers(everything=True):
            state = container.attrs["State"]
            health = state.get("Health", {}).get("Status", "none")
            if not (health == "healthy" or (state["Status"] == "exited" and state["ExitCode"] == 0)):
                found[container.name or container.short_id] = f"{state['Status']} {health} {state['ExitCode']}"
        return found

    def until_well(self) -> None:
        """Wait until everything is healthy."""
        deadline = time.monotonic() + UP_SECONDS
        while unwell := self.unwell():
            if time.monotonic() > deadline:
                pytest.fail(f"not healthy: {unwell}\n{self.last_lines()}")
            time.sleep(1.0)

    def last_lines(self) -> str:
        """The end of what each container that is not well has said."""
        unwell = self.unwell()
        chosen = [one for one in self.containers(everything=True) if one.name in unwell]
        return "\n".join(f"--- {one.name}\n{one.logs(tail=15).decode(errors='replace')}" for one in chosen)

    def demo(self) -> list[dict[str, Any]]:
        """Run `pabal demo`'s story on it: its steps, as the command tells them to programs."""
        file = self.root / "stack.json"
        file.write_text(json.dumps(self.addresses))
        argv = [sys.executable, "-m", "clients.demo", "--stack", str(file), "--json"]
        done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=DEMO_SECONDS)
        assert done.stdout, done.stderr
        steps: list[dict[str, Any]] = json.loads(done.stdout)
        return steps


@contextlib.contextmanager
def running(root: Path) -> Iterator[Project]:
    """Build the image, start everything, and wait until it is healthy; take all of it away at the end."""
    client = engine()
    published = {name: ports.free_port() for name in ("MQTT", "WS", "API", "PROMETHEUS", "FCM")}
    subprocess.run(["sh", REPOSITORY / "deploy" / "secrets.sh", root / "secrets"], check=True, capture_output=True)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)  # an engine in a sandbox can't give more than it has
    env = {
        **os.environ,
        **{f"PUBLISH_{name}": str(port) for name, port in published.items()},
        "EDGE_SUBNET": SUBNET,
        "SECRETS_DIR": str(root / "secrets"),
        "NOFILE": str(NOFILE if hard == resource.RLIM_INFINITY else min(NOFILE, hard)),
        "IMAGE_PABAL": "pabal:compose-test",
    }
    addresses = {
        "api": f"http://127.0.0.1:{published['API']}",
        "mqtt_host": "127.0.0.1",
        "mqtt_port": published["MQTT"],
        "fcm_url": f"http://127.0.0.1:{published['FCM']}",
        "prometheus": f"http://127.0.0.1:{published['PROMETHEUS']}",
    }
    project = Project(client, f"pabaltest{os.getpid()}", root, addresses, env)
    try:
        project.compose("build", seconds=BUILD_SECONDS)
        project.compose("up", "-d", seconds=UP_SECONDS)
        project.until_well()
        yield project
    finally:
        with contextlib.suppress(pytest.fail.Exception, subprocess.TimeoutExpired):  # what went wrong before says more
            project.compose("down", "-v", "--remove-orphans", seconds=UP_SECONDS)
        client.close()
