"""How the demo runs steps, and how it ends: without a stack (the story itself is in tests/e2e/test_demo.py)."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from rich.console import Console

from clients.demo.__main__ import main
from clients.demo.play import Play, Result, Step
from clients.demo.scene import NoStack, Scene, Unexpected, expect, read_stack, until
from clients.demo.screen import JsonScreen, RichScreen
from clients.demo.story import STORY
from clients.python import ApiError

NOWHERE = "http://127.0.0.1:9"


def scene() -> Scene:
    return Scene({"api": NOWHERE, "mqtt_host": "", "mqtt_port": 1, "fcm_url": None}, lambda _: None)


def test_a_step_runs_once_after_what_it_needs() -> None:
    ran: list[str] = []

    def step(name: str, *needs: str) -> Step:
        return Step(name, name, lambda _: ran.append(name) or f"did {name}", needs)

    play = Play([step("a"), step("b", "a"), step("c", "b")], scene())
    assert play.run("c").detail == "did c"
    assert [play.run(name).ok for name in play.names()] == [True, True, True]
    assert ran == ["a", "b", "c"]


@pytest.mark.parametrize(
    "error", [Unexpected("no"), ApiError(500, "internal", "x"), ConnectionError("x"), ValueError("x")]
)
def test_what_goes_wrong_fails_the_step_and_skips_what_needs_it(error: Exception) -> None:
    def fail(_: Scene) -> str:
        raise error

    play = Play([Step("a", "A", fail), Step("b", "B", lambda _: "", ("a",)), Step("c", "C", lambda _: "")], scene())
    failed, skipped, other = (play.run(name) for name in play.names())
    assert not failed.ok
    assert not failed.skipped
    assert str(error) in failed.detail
    assert (skipped.ok, skipped.skipped, skipped.detail) == (False, True, "skipped: needs a")
    assert other.ok


def test_the_story_needs_only_what_stands_before() -> None:
    names = [step.name for step in STORY]
    assert len(set(names)) == len(names)
    for place, step in enumerate(STORY):
        assert set(step.needs) <= set(names[:place])


def test_expect_and_until() -> None:
    expect(truth=True, otherwise="never")
    with pytest.raises(Unexpected, match="so it is"):
        expect(truth=False, otherwise="so it is")
    answers = iter([False, True])
    until(lambda: next(answers), "never")
    with pytest.raises(Unexpected, match="too late"):
        until(lambda: False, "too late", within=0.0)


@pytest.mark.parametrize(
    ("content", "said"),
    [(None, "start a stack first"), ("{", "can't be read"), ("[]", "can't be read"), ("{}", "can't be read")],
)
def test_no_stack_file(tmp_path: Path, content: str | None, said: str) -> None:
    path = tmp_path / "stack.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(NoStack, match=said):
        read_stack(path)


def test_no_stack_behind_the_file(
    tmp_path: Path, free_port: Callable[[], int], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "stack.json"
    path.write_text(json.dumps({"api": f"http://127.0.0.1:{free_port()}"}))
    assert main(["--stack", str(path)]) == 2
    said = capsys.readouterr()
    assert "No stack is running" in said.err
    assert said.out == ""


RESULTS = [
    Result("a", "Sends 한국어", ok=True, detail="[안녕]", ms=12),
    Result("b", "B", ok=False, detail="no", ms=3),
    Result("c", "C", ok=False, detail="skipped: needs b", ms=0, skipped=True),
]


def test_json_is_one_document(capsys: pytest.CaptureFixture[str]) -> None:
    screen = JsonScreen()
    screen.begin("A")
    screen.say("x")
    for result in RESULTS:
        screen.end(result)
    screen.finish(RESULTS)
    assert json.loads(capsys.readouterr().out) == [
        {"name": "a", "ok": True, "detail": "[안녕]", "ms": 12},
        {"name": "b", "ok": False, "detail": "no", "ms": 3},
        {"name": "c", "ok": False, "detail": "skipped: needs b", "ms": 0, "skipped": True},
    ]


def test_people_see_marks_lines_and_the_sum() -> None:
    out = io.StringIO()
    screen = RichScreen(Console(file=out, width=200))
    for result in RESULTS:
        screen.begin(result.title)
        screen.say(f"in {result.name}")
        screen.end(result)
    screen.finish(RESULTS)
    lines = out.getvalue().splitlines()
    assert [line.split()[0] for line in lines[1::2]] == ["✓", "✗", "○"]
    assert "[안녕]" in lines[1]
    assert lines[0].strip() == "in a"
    assert lines[-1] == "1 of 3 steps are as expected"
