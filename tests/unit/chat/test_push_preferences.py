from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from chat.errors import BadInput
from chat.push_preferences import QuietHours, check_quiet

SEOUL = ZoneInfo("Asia/Seoul")


def seoul(hour: int, minute: int = 0) -> datetime:
    return datetime(2026, 5, 1, hour, minute, tzinfo=SEOUL)


@pytest.mark.parametrize(
    ("start", "end", "at", "quiet"),
    [
        ("22:00", "07:00", seoul(21, 59), False),
        ("22:00", "07:00", seoul(22), True),
        ("22:00", "07:00", seoul(0), True),
        ("22:00", "07:00", seoul(6, 59), True),
        ("22:00", "07:00", seoul(7), False),
        ("12:30", "13:30", seoul(12, 29), False),
        ("12:30", "13:30", seoul(12, 30), True),
        ("12:30", "13:30", seoul(13, 29), True),
        ("12:30", "13:30", seoul(13, 30), False),
        ("00:00", "06:00", seoul(0), True),
        ("18:00", "00:00", seoul(23, 59), True),
        ("18:00", "00:00", seoul(0), False),
    ],
)
def test_the_clock_of_their_zone_decides(start: str, end: str, at: datetime, quiet: bool) -> None:
    hours = check_quiet(start, end, "Asia/Seoul")
    assert hours.holds(at) is quiet
    assert hours.holds(at.astimezone(UTC)) is quiet, "whatever the zone of the server"


@pytest.mark.parametrize(
    ("at", "quiet"),
    [
        # Berlin, 29 March 2026: at 01:00 UTC the clock jumps from 02:00 to 03:00. 22:00 to 07:00 is an hour shorter.
        (datetime(2026, 3, 28, 20, 59, tzinfo=UTC), False),
        (datetime(2026, 3, 28, 21, 0, tzinfo=UTC), True),
        (datetime(2026, 3, 29, 4, 59, tzinfo=UTC), True),
        (datetime(2026, 3, 29, 5, 0, tzinfo=UTC), False),
        # 25 October 2026: at 01:00 UTC it is 02:00 for the second time. An hour longer.
        (datetime(2026, 10, 24, 19, 59, tzinfo=UTC), False),
        (datetime(2026, 10, 24, 20, 0, tzinfo=UTC), True),
        (datetime(2026, 10, 25, 5, 59, tzinfo=UTC), True),
        (datetime(2026, 10, 25, 6, 0, tzinfo=UTC), False),
    ],
)
def test_nights_in_which_the_clocks_change(at: datetime, quiet: bool) -> None:
    assert QuietHours("22:00", "07:00", "Europe/Berlin").holds(at) is quiet


def test_an_hour_that_a_clock_shows_twice_is_quiet_twice_and_one_that_it_leaves_out_never() -> None:
    hours = QuietHours("02:00", "03:00", "Europe/Berlin")
    minutes = [datetime(2026, 10, 24, 12, tzinfo=UTC) + timedelta(minutes=step) for step in range(24 * 60)]
    assert sum(map(hours.holds, minutes)) == 120
    minutes = [datetime(2026, 3, 28, 12, tzinfo=UTC) + timedelta(minutes=step) for step in range(24 * 60)]
    assert sum(map(hours.holds, minutes)) == 0


@pytest.mark.parametrize(
    "zone", ["Asia/Nowhere", "", "../etc/passwd", "/etc/localtime", "Asia", "서울", "UTC+9", "a" * 300, "x\0y"]
)
def test_what_is_no_time_zone(zone: str) -> None:
    with pytest.raises(BadInput) as raised:
        check_quiet("22:00", "07:00", zone)
    assert raised.value.code == "unknown_time_zone"


def test_quiet_hours_that_never_are_or_always() -> None:
    with pytest.raises(BadInput) as raised:
        check_quiet("07:00", "07:00", "UTC")
    assert raised.value.code == "empty_quiet_hours"
