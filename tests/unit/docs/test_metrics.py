"""The table of metrics in docs/operations.md is what the processes show: no metric is missing, none is gone, and types and labels are right."""

from __future__ import annotations

import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from typing import NamedTuple

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.metrics import MetricWrapperBase
from prometheus_client.registry import Collector

from adapters.jobs import CeleryJobQueue
from adapters.otlp import spans_counter
from adapters.vitals import Vitals
from api.app import create_app
from api.internal.endpoints import Gate
from api.settings import Settings as ApiSettings
from bridge.metrics import Metrics
from broker.broker import Broker
from broker.limits import DEFAULTS
from broker.metrics import registry as broker_registry
from broker.policy import OpenPolicy
from stack.processes import REPOSITORY
from tests.conftest import unavailable
from workers import metrics as worker_metrics
from workers.gauges import JobGauges


class Row(NamedTuple):
    """A metric as the table has it."""

    name: str
    type: str
    labels: tuple[str, ...]


def broker() -> CollectorRegistry:
    made = broker_registry(Broker(OpenPolicy(), limits=DEFAULTS, clock=time.monotonic).core)
    Vitals(made)
    spans_counter(made)
    return made


def bridge() -> CollectorRegistry:
    made = CollectorRegistry()
    Metrics(made)
    CeleryJobQueue("redis://127.0.0.1:1/0", registry=made).close()
    Vitals(made)
    spans_counter(made)
    return made


def api() -> CollectorRegistry:
    settings = ApiSettings.model_construct(api_cors_origins="")
    made: CollectorRegistry = create_app(settings).state.registry
    Gate(None, "", made)  # type: ignore[arg-type]  # asked nothing here
    spans_counter(made)
    return made


def worker() -> CollectorRegistry:
    """Its counters are in the default registry, among those of other packages: they are moved into one of their own."""
    made = CollectorRegistry()
    for metric in vars(worker_metrics).values():
        if isinstance(metric, MetricWrapperBase):
            made.register(metric)
    gauges = JobGauges({}, lambda: False)
    gauges._seen.taken, gauges._seen.letters = 0, {}
    made.register(gauges)
    Vitals(made)
    spans_counter(made)
    return made


PROCESSES = {"broker": broker, "bridge": bridge, "api": api, "worker": worker}


def _rows(registry: CollectorRegistry) -> Iterator[Row]:
    for collector in registry._collector_to_names:
        yield from _of_wrapper(collector) if isinstance(collector, MetricWrapperBase) else _of_families(collector)


def _of_wrapper(metric: MetricWrapperBase) -> Iterator[Row]:
    name = metric._name + ("_total" if metric._type == "counter" else "")
    yield Row(name, metric._type, tuple(metric._labelnames))


def _of_families(collector: Collector) -> Iterator[Row]:
    for family in collector.collect():
        name = family.name + ("_total" if isinstance(family, CounterMetricFamily) else "")
        yield Row(name, family.type, tuple(family._labelnames))


def _shown() -> dict[str, set[tuple[str, Row]]]:
    """Every metric by the processes that show it."""
    found: dict[str, set[tuple[str, Row]]] = {}
    for process, make in PROCESSES.items():
        for row in _rows(make()):
            found.setdefault(row.name, set()).add((process, row))
    return found


def _documented() -> dict[str, set[tuple[str, Row]]]:
    text = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
    section = text.split("\n## Metrics and health", 1)[1].split("\n## ", 1)[0]
    found: dict[str, set[tuple[str, Row]]] = {}
    for name, type_, labels, process in re.findall(
        r"^\| `(\w+)` \| (\w+) \| ([^|]+) \| (\w+) \| [^|]+ \|$", section, re.MULTILINE
    ):
        assert name not in found, f"{name} stands there twice"
        row = Row(name, type_, tuple(re.findall(r"`(\w+)`", labels)))
        found[name] = {(one, row) for one in (PROCESSES if process == "all" else [process])}
    return found


def test_the_table_has_every_metric_and_no_other() -> None:
    shown, documented = _shown(), _documented()
    assert sorted(set(shown) - set(documented)) == [], "not in the table"
    assert sorted(set(documented) - set(shown)) == [], "nobody shows it"
    for name, rows in shown.items():
        assert documented[name] == rows, name


PEOPLE_AND_THINGS = {"user", "chat", "device", "principal", "client", "sender", "id", "address", "topic", "path"}
PROMETHEUS_OWN = {"job", "instance"}
"""It would rename ours to `exported_job`, and rules would mean another label than they say."""


def test_no_label_may_have_a_value_per_person_or_thing_or_a_name_that_is_taken() -> None:
    names = {label for rows in _shown().values() for _, row in rows for label in row.labels}
    assert names & (PEOPLE_AND_THINGS | PROMETHEUS_OWN) == set()


@pytest.mark.parametrize("process", PROCESSES)
def test_names_and_texts_follow_the_conventions_of_prometheus(process: str) -> None:
    promtool = shutil.which("promtool") or unavailable("promtool is not installed: bash tests/peers.sh")
    text = generate_latest(PROCESSES[process]())
    checked = subprocess.run([promtool, "check", "metrics"], input=text, capture_output=True, check=False)
    assert (checked.returncode, checked.stdout, checked.stderr) == (0, b"", b"")
