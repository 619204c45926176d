"""The checker is worth something: for each promise a build that breaks it is caught, and the whole one passes the same test."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.faults.broken_builds import BUILDS
from tests.faults.checker import Run, check, summary
from tests.faults.faults import POISON, forbidden
from tests.faults.workload import Workload

pytestmark = [pytest.mark.e2e, pytest.mark.faults, pytest.mark.timeout(400)]

MESSAGES = 400

Breaking = Callable[[str], RunningStack]


@pytest.fixture(scope="module")
def breaking(module_stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Breaking:
    """One stack for the module; call it for the build that it shall run from now on."""
    broken = tmp_path_factory.mktemp("broken") / "build"
    broken.write_text("")
    program = (str(Path(__file__).with_name("broken_stack.py")),)
    stack = module_stacks(program=program, env={"BROKEN": str(broken)})

    def build(name: str) -> RunningStack:
        broken.write_text(name)
        for process in ("broker", "bridge"):
            before = stack.kill(process)
            deadline = time.monotonic() + 60
            while stack.refresh()["processes"].get(process, before) == before or not _well(stack, process):
                assert time.monotonic() < deadline, process
                time.sleep(0.05)
        return stack

    return build


def _well(stack: RunningStack, process: str) -> bool:
    try:
        url = stack.info["metrics"][process].replace("/metrics", "/healthz")
        return httpx.get(url, timeout=1.0, trust_env=False).is_success
    except httpx.HTTPError:
        return False


def run(stack: RunningStack, *, patience: float) -> Run:
    """A little of everything: sends, repeats, an intruder, a poison message, a kill, somebody who comes late."""
    with Workload(stack) as work:
        work.intrude()
        with forbidden(stack, POISON):
            work.poison(POISON)
            fault = work.when_acked(MESSAGES // 2, lambda: stack.kill("bridge"))
            work.send(MESSAGES)
            fault.join(60)
            found = work.finish(patience=patience)
    return found


def test_the_whole_build_passes(breaking: Breaking) -> None:
    found = run(breaking(""), patience=60)
    findings = check(found)
    assert not findings, summary(findings)
    assert "dead_letter" in found.refused.values()
    assert found.marks
    assert found.samples


SHORT = {"P1", "P3"}
"""Builds that lose and that leave gaps: tried each time, the others with LONG=1."""


@pytest.mark.parametrize(
    "promise", [pytest.param(name, marks=() if name in SHORT else pytest.mark.long) for name in BUILDS]
)
def test_a_build_that_breaks_the_promise_is_caught(breaking: Breaking, promise: str) -> None:
    findings = check(run(breaking(promise), patience=8))
    assert BUILDS[promise].finding in {finding.kind for finding in findings}, summary(findings)
