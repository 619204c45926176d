"""The supervisor's mechanics, with tiny children: order, restarts, ends, and that nothing is left behind."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

from stack import servers
from stack.processes import REPOSITORY

SUPERVISOR = """
import asyncio, json, sys
from pathlib import Path
from stack import keeper
from stack.display import Display, TerminalConsole
from stack.processes import ProcessSpec, Restart
from stack.state import State, write_atomically
from stack.supervisor import Supervisor

root = Path(sys.argv[1])
state = State.at(root)
state.create()

def probe(name):
    return lambda: None if (root / f"{name}.ready").exists() else "it has no file"

def spec(name, code, *, depends_on=(), once=False, stop_seconds=5.0):
    prelude = f"import os, signal, subprocess, sys, time; ROOT = {str(root)!r}; NAME = {name!r}\\n" + PRELUDE
    return ProcessSpec(
        name, (sys.executable, "-c", prelude + code), healthy=None if once else probe(name),
        depends_on=tuple(depends_on), restart=Restart.ONCE if once else Restart.ALWAYS, stop_seconds=stop_seconds,
    )

PRELUDE = '''
def note(text):
    with open(f"{ROOT}/notes", "a") as file:
        file.write(f"{text}\\\\n")
def ready():
    open(f"{ROOT}/{NAME}.ready", "w").close()
def bye(*_):
    note(f"-{NAME}")
    sys.exit(0)
signal.signal(signal.SIGTERM, bye)
note(f"+{NAME} {os.getpid()}")
'''

specs = [spec(**one) for one in json.loads(sys.argv[2])]

async def main():
    with Display(specs, TerminalConsole()) as display:
        supervisor = Supervisor(specs, state, display, lambda pids: write_atomically(root / "pids.json", json.dumps(pids)))
        (root / "guard").write_text(str(supervisor._guard._process.pid))
        await supervisor.run()

try:
    asyncio.run(main())
except keeper.StackFailed as failure:
    print(failure)
    sys.exit(1)
"""

LIVE = "ready()\nwhile True: time.sleep(60)\n"
NEVER_HEALTHY = "while True: time.sleep(60)\n"
STUBBORN = "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nnote(f'stubborn {os.getpid()}')\n" + LIVE
PARENT = (
    "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\nnote(f'grandchild {child.pid}')\n"
    + LIVE
)


class Fake:
    """A supervisor with fake children, as a process."""

    def __init__(self, root: Path, children: list[dict[str, Any]], *, deaf: bool = False) -> None:
        self.root = root
        self._output = (root / "output").open("wb")
        reader, writer = os.pipe()
        argv = [sys.executable, "-c", SUPERVISOR, str(root), json.dumps(children)]
        self.process = subprocess.Popen(
            servers.launched(argv, signal="TERM"),
            cwd=REPOSITORY,
            stdout=writer if deaf else self._output,
            stderr=subprocess.STDOUT,
        )
        os.close(reader)  # whoever writes into it now gets SIGPIPE, or EPIPE
        os.close(writer)

    def output(self) -> str:
        return (self.root / "output").read_text()

    def notes(self) -> list[str]:
        path = self.root / "notes"
        return path.read_text().splitlines() if path.exists() else []

    def noted(self, word: str) -> list[int]:
        """The numbers that were noted with `word`."""
        return [int(line.split()[1]) for line in self.notes() if line.split()[0] == word]

    def pids(self) -> dict[str, int]:
        path = self.root / "pids.json"
        found: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        return found

    def until(self, condition: Callable[[], Any]) -> None:
        """Wait for it; the bound is generous and only there so that a broken supervisor fails the test."""
        deadline = time.monotonic() + 30
        while not condition():
            assert time.monotonic() < deadline, f"{self.output()}\n{self.notes()}"
            time.sleep(0.02)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self._output.close()


Start = Callable[..., Fake]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[Fake] = []

    def start_fake(*children: dict[str, Any], deaf: bool = False) -> Fake:
        started.append(Fake(tmp_path, list(children), deaf=deaf))
        return started[-1]

    yield start_fake
    for fake in started:
        fake.close()


def alive(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def child(name: str, code: str, *depends_on: str, **options: Any) -> dict[str, Any]:
    return {"name": name, "code": textwrap.dedent(code), "depends_on": depends_on, **options}


def test_children_start_in_order_of_their_dependencies_and_end_in_reverse(start: Start) -> None:
    slow = "time.sleep(0.3); note('a is ready'); " + LIVE
    fake = start(child("a", slow), child("step", "note('step')", "a", once=True), child("b", LIVE, "step"))
    fake.until(fake.pids)
    assert [line.split()[0] for line in fake.notes()] == ["+a", "a", "+step", "step", "+b"]
    assert list(fake.pids()) == ["a", "b"], "a step that is over is no process"
    pids = list(fake.pids().values())
    fake.process.terminate()
    assert fake.process.wait(30) == 0
    assert fake.notes()[-2:] == ["-b", "-a"]
    assert not any(map(alive, pids))


def test_what_dies_is_started_again_after_longer_and_longer_waits(start: Start) -> None:
    fake = start(child("a", "print('무슨 일이', flush=True); sys.exit(3)"))
    fake.until(lambda: len(fake.noted("+a")) >= 4)
    said = fake.output()
    places = [said.index(f"a ended with code 3; it is started again in {wait} s") for wait in ("0.2", "0.4", "0.8")]
    assert places == sorted(places)
    assert said.count("무슨 일이") == 1, "its last words are shown once, not with every try"


def test_a_restarted_child_has_its_new_pid_in_the_table(start: Start) -> None:
    fake = start(child("a", LIVE), child("b", LIVE))
    fake.until(fake.pids)
    before = fake.pids()
    os.kill(before["a"], signal.SIGKILL)
    fake.until(lambda: fake.pids()["a"] != before["a"])
    assert fake.pids()["b"] == before["b"], "a neighbour is left alone"
    assert alive(fake.pids()["a"])
    assert "a was killed by SIGKILL; it is started again in 0.2 s" in fake.output()


def test_what_a_dead_child_had_forked_is_gone_before_it_is_started_again(start: Start) -> None:
    fake = start(child("a", PARENT))
    fake.until(fake.pids)
    (grandchild,) = fake.noted("grandchild")
    os.kill(fake.pids()["a"], signal.SIGKILL)
    fake.until(lambda: len(fake.noted("grandchild")) == 2)
    assert not alive(grandchild)


def test_a_child_that_does_not_end_is_killed_after_its_time(start: Start) -> None:
    fake = start(child("a", STUBBORN, stop_seconds=0.3))
    fake.until(fake.pids)
    fake.process.terminate()
    assert fake.process.wait(30) == 0
    assert not alive(fake.noted("stubborn")[0])


def test_a_second_signal_waits_for_nobody(start: Start) -> None:
    fake = start(child("a", STUBBORN, stop_seconds=3600))
    fake.until(fake.pids)
    fake.process.send_signal(signal.SIGINT)
    fake.until(lambda: "ending" in fake.output())
    fake.process.send_signal(signal.SIGINT)
    assert fake.process.wait(30) == 0
    assert not alive(fake.noted("stubborn")[0])


def test_the_end_can_come_while_it_still_starts(start: Start) -> None:
    fake = start(child("a", NEVER_HEALTHY), child("b", LIVE, "a"))
    fake.until(lambda: fake.noted("+a"))
    fake.process.terminate()
    assert fake.process.wait(30) == 0
    assert not alive(fake.noted("+a")[0])
    assert not fake.noted("+b")


def test_the_end_can_come_while_it_waits_to_start_something_again(start: Start) -> None:
    fake = start(child("a", "sys.exit(1)"))
    fake.until(lambda: "started again in 3.2 s" in fake.output())
    fake.process.terminate()
    assert fake.process.wait(30) == 0


def test_a_step_that_fails_ends_everything_and_is_quoted(start: Start) -> None:
    fake = start(
        child("a", LIVE), child("step", "sys.exit('열쇠가 없습니다')", "a", once=True), child("b", LIVE, "step")
    )
    assert fake.process.wait(30) == 1
    assert "step ended with code 1" in fake.output()
    assert "열쇠가 없습니다" in fake.output()
    assert not alive(fake.noted("+a")[0])
    assert not fake.noted("+b")


def test_a_program_that_is_missing_is_named(start: Start) -> None:
    code = f"os.execv(sys.executable, [sys.executable, '-I', '-S', {str(servers.CHILD)!r}, '--parent', str(os.getppid()), '--', '/nowhere/at-all'])"
    fake = start(child("step", code, once=True))
    assert fake.process.wait(30) == 1
    assert "/nowhere/at-all: No such file or directory" in fake.output()
    assert "ended with code 127" in fake.output()


def test_the_stack_goes_on_when_nobody_reads_what_it_says(start: Start) -> None:
    fake = start(child("a", LIVE), deaf=True)
    fake.until(fake.pids)
    before = fake.pids()["a"]
    os.kill(before, signal.SIGKILL)
    fake.until(lambda: fake.pids()["a"] != before)
    assert fake.process.poll() is None
    fake.process.terminate()
    assert fake.process.wait(30) == 0


def test_nothing_outlives_a_supervisor_that_is_killed(start: Start) -> None:
    fake = start(child("a", STUBBORN), child("b", PARENT), child("c", NEVER_HEALTHY))
    fake.until(lambda: fake.noted("stubborn") and fake.noted("grandchild") and fake.noted("+c"))
    everything = [*fake.noted("+a"), *fake.noted("+b"), *fake.noted("+c"), *fake.noted("grandchild"), guard(fake)]
    assert all(map(alive, everything))
    fake.process.kill()
    fake.until(lambda: not any(map(alive, everything)))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux's")
def test_children_die_with_the_supervisor_even_without_the_guard(start: Start) -> None:
    fake = start(child("a", STUBBORN))
    fake.until(fake.pids)
    os.kill(guard(fake), signal.SIGKILL)
    fake.process.kill()
    fake.until(lambda: not alive(fake.noted("+a")[0]))


def test_a_guard_that_was_killed_is_replaced_at_the_next_change(start: Start) -> None:
    fake = start(child("a", PARENT), child("b", PARENT))
    fake.until(fake.pids)
    os.kill(guard(fake), signal.SIGKILL)
    fake.until(lambda: not alive(guard(fake)))
    before = fake.pids()
    os.kill(before["a"], signal.SIGKILL)
    fake.until(lambda: fake.pids()["a"] != before["a"] and len(fake.noted("grandchild")) == 3)
    fake.process.kill()
    fake.until(lambda: not any(map(alive, fake.noted("grandchild"))))


def guard(fake: Fake) -> int:
    return int((fake.root / "guard").read_text())
