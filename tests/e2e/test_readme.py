"""The README's first message works as it is written: its own commands, in order, on the real stack."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from stack.testing import RunningStack
from tests.conftest import unavailable

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e


def commands(stack: RunningStack) -> list[str]:
    """The shell blocks of the first message, with the addresses of this stack."""
    text = (REPOSITORY / "README.md").read_text(encoding="utf-8")
    section = text.split("## Five minutes", 1)[1].split("\n## ", 1)[0]
    blocks = re.findall(r"```sh\n(.*?)```", section, re.DOTALL)
    replaced = {
        "http://127.0.0.1:8080": stack.info["api"],
        "-p 1883": f"-p {stack.info['mqtt_port']}",
        '"127.0.0.1", 1883': f'"127.0.0.1", {stack.info["mqtt_port"]}',
        "var/credentials.json": str(stack.state.credentials),
        ".venv/bin/python": sys.executable,
    }
    for old, new in replaced.items():
        assert any(old in block for block in blocks), f"the README no longer has {old}"
        blocks = [block.replace(old, new) for block in blocks]
    return blocks


def test_the_first_message_of_the_readme(stack: RunningStack) -> None:
    for program in ("bash", "curl", "mosquitto_pub", "mosquitto_sub"):
        if shutil.which(program) is None:
            unavailable(f"{program} is missing")
    blocks = commands(stack)
    assert len(blocks) == 6
    script = "\n".join(["set -euo pipefail", "trap 'kill $(jobs -p)' EXIT", *blocks])
    done = subprocess.run(
        ["bash", "-c", script], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr

    chat = done.stdout.splitlines()[0]
    assert re.fullmatch(r"d-[0-9a-f]{32}", chat)
    event = json.loads(done.stdout.splitlines()[1])
    assert (event["chat"], event["sender"], event["body"]) == (chat, "haneul", {"text": "안녕하세요, 바다님!"})
    history = json.loads(done.stdout[done.stdout.index('{\n    "items"') : done.stdout.rindex("\n}") + 2])
    newest = history["items"][-1]
    assert newest["id"] == event["id"]
    assert newest["seq"] == event["seq"]
    assert newest["status"] == "DELIVERED"
    assert "PUBACK: Success" in done.stdout
