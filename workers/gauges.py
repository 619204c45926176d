"""How the jobs of all workers are, as numbers to alert on: how full the queues are, dead letters, when each regular job last did its work.

They are read from Valkey and MongoDB by the status thread, so every worker tells the same and none needs to have done the work itself.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from adapters.stores import Stores
from adapters.valkey.connection import Valkey
from adapters.valkey.queues import QueueState, look
from chat.background import JobRun
from chat.errors import Unavailable
from chat.jobs import QUEUES

LETTERS_EVERY = 15.0
"""Seconds between two looks at MongoDB; Valkey is looked at each time."""


@dataclass(slots=True)
class _Seen:
    queues: Mapping[str, QueueState] = field(default_factory=dict)
    taken: int | None = None
    letters: Mapping[str, int] | None = None
    runs: list[JobRun] = field(default_factory=list)


class JobGauges(Collector):
    """What was last seen. A number that can't be read is left out: an old one would hide that.

    Args:
        every: seconds by the name of each regular job.
        leads: whether this worker starts the regular jobs.
        clock: Unix time.
    """

    def __init__(
        self, every: Mapping[str, float], leads: Callable[[], bool], *, clock: Callable[[], float] = time.time
    ) -> None:
        self._every = every
        self._leads = leads
        self._clock = clock
        self._seen = _Seen()
        self._looked_at = float("-inf")

    async def look(self, client: Valkey, stores: Stores) -> None:
        """Look again; never raises `Unavailable`."""
        try:
            self._seen.queues, self._seen.taken = await look(client, QUEUES)
        except Unavailable:
            self._seen.queues, self._seen.taken = {}, None
        if time.monotonic() - self._looked_at < LETTERS_EVERY:
            return
        self._looked_at = time.monotonic()
        try:
            self._seen.letters, self._seen.runs = await stores.dead_letters.counts(), await stores.job_runs.all()
        except Unavailable:
            self._seen.letters, self._seen.runs = None, []

    def collect(self) -> Iterable[Metric]:
        """For Prometheus."""
        waiting = _gauge("pabal_queue_waiting", "Jobs that nobody has taken yet", "queue")
        oldest = _gauge("pabal_queue_oldest_seconds", "For how long the job that is next has waited", "queue")
        for queue, state in self._seen.queues.items():
            waiting.add_metric([queue], state.waiting)
            age = 0.0 if state.oldest_at is None else max(0.0, self._clock() - state.oldest_at)
            oldest.add_metric([queue], age)
        yield from (waiting, oldest)
        if self._seen.taken is not None:
            yield GaugeMetricFamily(
                "pabal_jobs_taken", "Jobs under way, or waiting for their next try", value=self._seen.taken
            )
        if self._seen.letters is not None:
            letters = _gauge("pabal_dead_letters", "Dead letters that are there now", "kind")
            for kind in sorted({"message", "push", "job", *self._seen.letters}):
                letters.add_metric([kind], self._seen.letters.get(kind, 0))
            yield letters
        yield from self._regular()
        yield GaugeMetricFamily("pabal_beat_leads", "Whether this worker starts the regular jobs", value=self._leads())

    def _regular(self) -> Iterable[Metric]:
        every = _gauge("pabal_job_every_seconds", "How often a regular job is to run", "task")
        for job, seconds in self._every.items():
            every.add_metric([job], seconds)
        at = _gauge(
            "pabal_job_last_success_timestamp_seconds", "When a regular job last did its work, Unix time", "task"
        )
        took = _gauge("pabal_job_last_seconds", "How long that took", "task")
        for run in self._seen.runs:
            if run.at is not None:
                at.add_metric([run.job], run.at.timestamp())
                took.add_metric([run.job], run.seconds)
        return every, at, took


def _gauge(name: str, what: str, label: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, what, labels=[label])
