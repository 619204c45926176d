"""`workers.beat`: of several clocks one starts the regular jobs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from celery import Celery

from adapters.memory.background import MemoryLease
from chat.errors import Unavailable
from workers.beat import LEASE_SECONDS, LOOK_SECONDS, LeaderScheduler


class Clock:
    """Seconds, moved by hand."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Scheduler(LeaderScheduler):
    """Notes what it starts instead of sending it."""

    producer = None

    def __init__(self, *args: Any, **named: Any) -> None:
        self.started: list[str] = []
        super().__init__(*args, **named)

    def apply_entry(self, entry: Any, producer: Any = None) -> None:
        """See `celery.beat.Scheduler`."""
        del producer
        self.started.append(entry.name)


def scheduler(directory: Path, name: str, lease: Any) -> Scheduler:
    app = Celery(name, set_as_current=False)
    app.conf.beat_schedule = {"sweep": {"task": "pabal.push.sweep", "schedule": 0.001}}
    found = Scheduler(app=app, schedule_filename=str(directory / name), max_interval=1, lease=lease)
    found._holder = name
    return found


def test_one_leads_and_the_other_takes_over(tmp_path: Path) -> None:
    clock = Clock()
    lease = MemoryLease(clock=clock)
    one, other = (scheduler(tmp_path, name, lease) for name in ("one", "other"))
    for _ in range(5):
        assert one.tick() <= LOOK_SECONDS
        assert other.tick() == LOOK_SECONDS
    assert (one.leads, other.leads) == (True, False)
    assert one.started
    assert not other.started
    clock.now += LEASE_SECONDS - 1
    one.tick()  # has it for longer
    clock.now += LEASE_SECONDS - 1
    other.tick()
    assert not other.leads
    clock.now += 2  # the first one was killed, or froze
    for _ in range(5):
        other.tick()
    assert other.started
    before = len(one.started)
    one.tick()  # and wakes up
    assert not one.leads
    assert len(one.started) == before
    other.close()
    one.tick()
    assert one.leads, "who is stopped gives it back"
    one.close()


def test_without_valkey_nobody_leads_and_nothing_breaks(tmp_path: Path) -> None:
    class Away:
        def take(self, _holder: str, *, seconds: float) -> bool:
            raise Unavailable(f"not for {seconds}")

        def give_back(self, _holder: str) -> None:
            raise Unavailable("away")

    clock = scheduler(tmp_path, "one", Away())
    assert clock.tick() == LOOK_SECONDS
    assert not clock.leads
    assert clock.started == []
    clock._leads = True  # it went away while it led
    clock.close()


def test_settings_in_which_jobs_would_run_twice_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    from pydantic import ValidationError  # noqa: PLC0415 - beside what it is for

    from workers.settings import WorkerSettings  # noqa: PLC0415

    def settings(**changes: Any) -> WorkerSettings:
        return WorkerSettings(mongo_url="mongodb://unused", **changes)

    assert settings().visibility_seconds > settings().least_visibility == 450.0
    assert settings(worker_visibility=450.0).visibility_seconds == 450.0
    with pytest.raises(ValidationError, match="PABAL_WORKER_VISIBILITY is 449"):
        settings(worker_visibility=449.0)
    monkeypatch.setenv("PABAL_WORKER_QUEUES", "push, statistics")
    assert settings().queues == ("push", "statistics")
    monkeypatch.setenv("PABAL_WORKER_QUEUES", "push,post")
    with pytest.raises(ValidationError, match="post: queues are push, maintenance"):
        settings()
    monkeypatch.delenv("PABAL_WORKER_QUEUES")
    assert "push" in settings().queues
