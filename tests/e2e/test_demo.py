"""Each sentence of `pabal demo`, on the real stack: the demo's own steps, and the command itself."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from clients.demo.play import Play
from clients.demo.scene import Scene, read_stack
from clients.demo.story import STORY
from stack.testing import RunningStack

REPOSITORY = Path(__file__).resolve().parents[2]

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def play(stack: RunningStack) -> Iterator[Play]:
    """The story on one scene; a step runs when the first test asks for it, after the steps that it needs."""
    scene = Scene(read_stack(stack.state.stack_file), print)
    yield Play(STORY, scene)
    scene.close()


def told(play: Play, name: str) -> None:
    result = play.run(name)
    assert result.ok, result.detail


def test_two_users_register_over_rest(play: Play) -> None:
    told(play, "register")


def test_they_open_a_direct_chat(play: Play) -> None:
    told(play, "direct_chat")


def test_they_connect_over_mqtt(play: Play) -> None:
    told(play, "connect")


def test_the_first_sends_korean_text_and_the_second_gets_it(play: Play) -> None:
    told(play, "text")


def test_the_first_sees_delivered_without_any_client_code(play: Play) -> None:
    told(play, "delivered")


def test_the_first_sees_seen(play: Play) -> None:
    told(play, "seen")


def test_a_group_of_five_with_a_thermometer(play: Play) -> None:
    told(play, "group")


def test_all_five_get_the_plain_bytes_that_it_published_over_3_1_1(play: Play) -> None:
    told(play, "reading")


def test_the_second_user_goes_away(play: Play) -> None:
    told(play, "away")


def test_three_messages_come_meanwhile(play: Play) -> None:
    told(play, "missed")


def test_a_push_goes_out_for_them(play: Play) -> None:
    told(play, "push")


def test_the_user_comes_back_and_syncs_exactly_three(play: Play) -> None:
    told(play, "back")


def test_the_same_id_again_stores_nothing_new_and_has_the_same_seq(play: Play) -> None:
    told(play, "resend")


def test_an_outsider_connects(play: Play) -> None:
    told(play, "outsider")


def test_the_outsider_cannot_subscribe(play: Play) -> None:
    told(play, "no_subscribe")


def test_the_outsider_cannot_publish(play: Play) -> None:
    told(play, "no_publish")


def test_the_outsider_cannot_read_history(play: Play) -> None:
    told(play, "no_history")


def test_history_shows_all_of_it_with_status_delivered_at_and_seen_at(play: Play) -> None:
    told(play, "history")


def test_every_step_of_the_story_has_its_test() -> None:
    source = Path(__file__).read_text()
    assert [step.name for step in STORY if f'told(play, "{step.name}")' not in source] == []


def test_the_command_passes_again_and_again_on_one_stack(stack: RunningStack) -> None:
    argv = [sys.executable, "-m", "clients.demo", "--stack", str(stack.state.stack_file), "--json"]
    for _ in range(2):
        done = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, check=False, timeout=150)
        rows = json.loads(done.stdout)
        assert [row for row in rows if not row["ok"]] == [], done.stderr
        assert [row["name"] for row in rows] == [step.name for step in STORY]
        assert done.returncode == 0
        assert done.stderr == ""
