from __future__ import annotations

from stack.backoff import HEALTHY_SECONDS, Backoff


def test_waits_double_up_to_ten_seconds() -> None:
    backoff = Backoff()
    assert [round(backoff.after(0.0), 1) for _ in range(9)] == [0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 10.0, 10.0, 10.0]


def test_a_healthy_minute_makes_the_next_failure_a_first_one() -> None:
    backoff = Backoff()
    for _ in range(5):
        backoff.after(0.0)
    assert backoff.after(HEALTHY_SECONDS) == 0.2
    assert backoff.after(HEALTHY_SECONDS - 1) == 0.4
