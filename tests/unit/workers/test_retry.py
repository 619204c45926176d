from __future__ import annotations

import pytest

from workers.push.retry import pause


@pytest.mark.parametrize(("tries", "step"), [(1, 2), (2, 4), (3, 8), (7, 128), (9, 300), (1_000, 300)])
def test_the_steps_double_up_to_the_longest(tries: int, step: float) -> None:
    pauses = {pause(tries, longest=300) for _ in range(50)}
    assert all(step / 2 <= seconds <= step for seconds in pauses)
    assert len(pauses) > 1


@pytest.mark.parametrize("asked", [0.0, 1.0, 120.0, 7_200.0])
def test_never_earlier_than_asked_and_not_much_later(asked: float) -> None:
    for _ in range(50):
        assert asked <= pause(1, longest=300, asked=asked) <= max(2.0, asked * 1.1)
