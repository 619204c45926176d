"""What every process shows of itself beside its own figures: its version, which of its parts are well, and what it costs the machine."""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.metadata import version

from prometheus_client import CollectorRegistry, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector


class Vitals(Collector):
    """`pabal_build_info` and `pabal_part_up{part}`, with `process_*` of the operating system (Linux) in the same registry.

    A collector and no gauges: in the worker those would go to the files by which pool processes are added up.

    Args:
        registry: where it is registered.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self._parts: Mapping[str, bool] = {}
        registry.register(self)
        ProcessCollector(registry=registry)

    def show(self, parts: Mapping[str, bool]) -> None:
        """From now on these are the parts; those of before are forgotten."""
        self._parts = parts

    def collect(self) -> Iterator[Metric]:
        """One sample of everything."""
        build = GaugeMetricFamily("pabal_build_info", "1; what runs here.", labels=["version", "python"])
        build.add_metric([_version(), platform.python_version()], 1)
        yield build
        parts = GaugeMetricFamily(
            "pabal_part_up", "Whether a part that the process needs is well, as /healthz says.", labels=["part"]
        )
        for name, well in self._parts.items():
            parts.add_metric([name], well)
        yield parts


@cache
def _version() -> str:
    return version("pabal")
