"""`pabal up` with a certificate: mqtts and wss beside the plain ports, shown, and tried by the doctor."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from stack.processes import REPOSITORY
from stack.testing import RunningStack
from tests.certificates import Authority
from tests.conftest import Stacks

pytestmark = pytest.mark.e2e


def pabal(*args: str) -> str:
    argv = [sys.executable, "-m", "stack", *args]
    return subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=120).stdout


def examined(stack: RunningStack) -> dict[str, dict[str, object]]:
    report = json.loads(pabal("doctor", "--state", str(stack.state.root), "--json"))
    return {check["name"]: check for check in report["checks"]}


def test_a_stack_with_a_certificate_offers_tls_and_shows_where(own_stack: Stacks, tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = authority.sign("pabal.example")
    env = {"PABAL_BROKER_TLS_CERT": str(files.certificate), "PABAL_BROKER_TLS_KEY": str(files.key)}
    stack = own_stack(env=env)
    tls = stack.info["tls"]
    assert tls is not None
    first = stack.info["mqtt_port"]
    assert (tls["mqtts_url"], tls["wss_url"]) == (
        f"mqtts://127.0.0.1:{first + 9}",
        f"wss://127.0.0.1:{first + 10}/mqtt",
    )
    said = stack.output() + pabal("status", "--state", str(stack.state.root))
    for url in (tls["mqtts_url"], tls["wss_url"]):
        assert said.count(str(url)) == 2
    checks = examined(stack)
    for name in ("broker TLS", "broker secure WebSocket"):
        assert checks[name]["ok"], checks[name]
        assert "let haneul in" in str(checks[name]["detail"])
    other = authority.sign("renewed.example")  # the file is another one, and nobody has told the broker
    files.certificate.write_bytes(other.certificate.read_bytes())
    checks = examined(stack)
    for name in ("broker TLS", "broker secure WebSocket"):
        assert not checks[name]["ok"]
        assert "certificate" in str(checks[name]["detail"])
