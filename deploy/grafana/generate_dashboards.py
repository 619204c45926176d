"""The dashboards as code: `python -m deploy.grafana.generate_dashboards` writes dashboards/*.json (`--check` only compares).

A panel is a title, a unit and its queries; where it stands follows from its place in the list. Metrics are explained in the table of
docs/operations.md.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parent / "dashboards"

DATASOURCE = {"type": "prometheus", "uid": "prometheus"}
"""As provisioning/datasources/prometheus.yml names it."""

WIDTH, HEIGHT, COLUMNS = 12, 8, 24

PERCENTILES = (50, 99)


@dataclass(frozen=True, slots=True)
class Query:
    """What is asked of Prometheus, and what its lines are called (`{{label}}` for a label's value)."""

    expr: str
    legend: str


@dataclass(frozen=True, slots=True)
class Panel:
    """One picture; `unit` as Grafana names it (`s`, `bytes`, `short`, `percentunit`, `ops`)."""

    title: str
    unit: str
    queries: tuple[Query, ...]
    kind: str = "timeseries"


@dataclass(frozen=True, slots=True)
class Dashboard:
    """One page."""

    uid: str
    title: str
    panels: tuple[Panel, ...]


def rate(metric: str, *by: str, where: str = "") -> str:
    """Per second, added up over everything but `by`."""
    grouped = f"sum by ({', '.join(by)})" if by else "sum"
    return f"{grouped} (rate({metric}{{{where}}}[$__rate_interval]))"


def times(title: str, metric: str, *, where: str = "") -> Panel:
    """Percentiles of a histogram of seconds."""
    queries = [
        Query(
            f"histogram_quantile({percent / 100}, sum by (le) (rate({metric}_bucket{{{where}}}[$__rate_interval])))",
            f"p{percent}",
        )
        for percent in PERCENTILES
    ]
    return Panel(title, "s", tuple(queries))


def rates(title: str, metric: str, *by: str, unit: str = "ops", where: str = "") -> Panel:
    """How often, one line per value of `by`."""
    legend = " ".join(f"{{{{{label}}}}}" for label in by) or title.lower()
    return Panel(title, unit, (Query(rate(metric, *by, where=where), legend),))


def sizes(title: str, *metrics: str, unit: str = "short", by: str = "instance") -> Panel:
    """Gauges as they are, one line per metric and value of `by`."""
    several = len(metrics) > 1
    return Panel(
        title,
        unit,
        tuple(
            Query(
                f"sum by ({by}) ({metric})",
                f"{metric.removeprefix('pabal_')} {{{{{by}}}}}" if several else f"{{{{{by}}}}}",
            )
            for metric in metrics
        ),
    )


def own_costs(job: str) -> tuple[Panel, ...]:
    """Processor, memory and files of a process."""
    return (
        Panel("Processors", "short", (Query(rate("process_cpu_seconds_total", "instance", where=f'job="{job}"'), "{{instance}}"),)),
        Panel("Memory", "bytes", (Query(f'process_resident_memory_bytes{{job="{job}"}}', "{{instance}}"),)),
        Panel(
            "Open files and connections",
            "short",
            (
                Query(f'process_open_fds{{job="{job}"}}', "{{instance}}"),
                Query(f'process_max_fds{{job="{job}"}}', "most {{instance}}"),
            ),
        ),
    )  # fmt: skip


PARTS = Panel("Parts that are well", "short", (Query("pabal_part_up", "{{job}} {{instance}} {{part}}"),))
FAULTS = Panel(
    "Failures per second",
    "ops",
    (
        Query(rate("pabal_bridge_refused_total", where='code=~"unavailable|internal|dead_letter"'), "messages refused"),
        Query(rate("pabal_bridge_retries_total"), "tries again"),
        Query(rate("pabal_api_requests_total", where='status=~"5.."'), "requests failed"),
        Query(rate("pabal_pushes_total", where='outcome=~"retry|parked"'), "pushes failed"),
        Query(rate("pabal_bridge_dead_letters_total"), "dead letters"),
    ),
)

OVERVIEW = Dashboard(
    "pabal-overview",
    "Pabal: overview",
    (
        Panel(
            "Processes that answer", "short", (Query('up{job=~"broker|bridge|api|worker"}', "{{job}} {{instance}}"),)
        ),
        Panel(
            "Versions", "short", (Query("count by (job, version) (pabal_build_info)", "{{job}} {{version}}"),), "table"
        ),
        rates("Events stored per second", "pabal_bridge_stored_total"),
        Panel(
            "Clients",
            "short",
            (Query("sum(pabal_broker_connections - pabal_broker_service_connections)", "connected"),),
        ),
        times("Publish to stored", "pabal_bridge_stored_seconds"),
        times("Stored to delivered", "pabal_broker_delivered_seconds"),
        FAULTS,
        Panel(
            "What waits",
            "short",
            (
                Query("sum(pabal_broker_queued_messages)", "in sessions"),
                Query("sum(pabal_bridge_waiting)", "in bridges"),
                Query("max by (queue) (pabal_queue_waiting)", "jobs {{queue}}"),
            ),
        ),
        rates("Pushes per second", "pabal_pushes_total", "outcome"),
        PARTS,
        Panel("Alerts", "short", (Query('ALERTS{alertstate="firing"}', "{{alertname}} {{job}}"),), "table"),
    ),
)

BROKER = Dashboard(
    "pabal-broker",
    "Pabal: broker",
    (
        sizes("Connections", "pabal_broker_connections", "pabal_broker_service_connections"),
        Panel("Sessions", "short", (Query("sum by (state) (pabal_broker_sessions)", "{{state}}"),)),
        rates("Attempts to connect per second", "pabal_broker_connects_total", "outcome"),
        sizes("Subscriptions and retained messages", "pabal_broker_subscriptions", "pabal_broker_retained"),
        Panel(
            "Messages per second",
            "ops",
            (
                Query(rate("pabal_broker_messages_in_total"), "in"),
                Query(rate("pabal_broker_messages_out_total"), "out"),
            ),
        ),
        Panel(
            "Bytes per second",
            "Bps",
            (Query(rate("pabal_broker_bytes_in_total"), "in"), Query(rate("pabal_broker_bytes_out_total"), "out")),
        ),
        times("Publish to acknowledgement", "pabal_broker_publish_ack_seconds"),
        times("Publish to written to receivers", "pabal_broker_publish_deliver_seconds"),
        times("Stored to acknowledged by receivers", "pabal_broker_delivered_seconds"),
        times("Event loop is late by", "pabal_broker_loop_lag_seconds"),
        sizes("Messages that wait", "pabal_broker_queued_messages", "pabal_broker_queue_depth_max", "pabal_broker_inflight_messages"),
        sizes("Bytes left unread", "pabal_broker_unsent_bytes", unit="bytes"),
        rates("Dropped per second", "pabal_broker_dropped_total", "reason"),
        rates("Refused per second", "pabal_broker_refused_total", "reason"),
        Panel(
            "Sessions on disk, per second",
            "ops",
            (
                Query(rate("pabal_broker_store_changes_total"), "records"),
                Query(rate("pabal_broker_store_batches_total"), "commits"),
                Query(rate("pabal_broker_store_failures_total"), "failures"),
            ),
        ),
        sizes("Records that wait for a commit", "pabal_broker_store_pending"),
        *own_costs("broker"),
    ),
)  # fmt: skip

BRIDGE = Dashboard(
    "pabal-bridge",
    "Pabal: bridge",
    (
        rates("Events stored per second", "pabal_bridge_stored_total", "instance"),
        rates("Refused per second", "pabal_bridge_refused_total", "code"),
        times("Arrival to stored", "pabal_bridge_stored_seconds"),
        times("Arrival to acknowledged", "pabal_bridge_settled_seconds"),
        times("One write", "pabal_bridge_commit_seconds"),
        Panel(
            "Messages per batch",
            "short",
            (
                Query(
                    f"{rate('pabal_bridge_batch_size_sum')} / {rate('pabal_bridge_batch_size_count')}",
                    "mean",
                ),
            ),
        ),
        sizes("Messages that wait", "pabal_bridge_waiting"),
        rates("Tries again per second", "pabal_bridge_retries_total", "step"),
        Panel(
            "Odd things per second",
            "ops",
            (
                Query(rate("pabal_bridge_repeats_total"), "repeats"),
                Query(rate("pabal_bridge_voids_total"), "voids"),
                Query(rate("pabal_bridge_seq_taken_total"), "slots taken"),
                Query(rate("pabal_bridge_fan_out_refused_total"), "fan-out refused"),
                Query(rate("pabal_bridge_shadowed_total"), "shadowed"),
                Query(rate("pabal_bridge_dead_letters_total"), "dead letters"),
            ),
        ),
        Panel(
            "Receipts per second",
            "ops",
            (
                Query(rate("pabal_bridge_watermarks_total"), "watermarks raised"),
                Query(rate("pabal_bridge_receipt_updates_total"), "updates told"),
            ),
        ),
        rates("Sync pages per second", "pabal_bridge_sync_pages_total"),
        rates("Sync resets per second", "pabal_bridge_sync_resets_total", "reason"),
        rates("Events to be pushed, per second", "pabal_bridge_push_marks_total"),
        rates("Jobs queued per second", "pabal_jobs_total", "outcome"),
        *own_costs("bridge"),
    ),
)

API = Dashboard(
    "pabal-api",
    "Pabal: API",
    (
        rates("Requests per second by status", "pabal_api_requests_total", "status"),
        rates("Requests per second by route", "pabal_api_requests_total", "method", "route"),
        times("Time of a request", "pabal_api_request_seconds", where='route=~"/v1/.*"'),
        Panel(
            "Slowest routes (p99)",
            "s",
            (
                Query(
                    "topk(10, histogram_quantile(0.99, sum by (le, method, route) "
                    "(rate(pabal_api_request_seconds_bucket[$__rate_interval]))))",
                    "{{method}} {{route}}",
                ),
            ),
        ),
        sizes("Requests under way", "pabal_api_requests_under_way"),
        rates("Refused because too many were under way", "pabal_api_requests_refused_total"),
        rates("Questions of other brokers per second", "pabal_api_hooks_total", "broker", "answer"),
        *own_costs("api"),
    ),
)

WORKER = Dashboard(
    "pabal-worker",
    "Pabal: worker and pushes",
    (
        rates("Pushes per second", "pabal_pushes_total", "outcome"),
        times("Time of a push at the provider", "pabal_push_send_seconds"),
        rates("Push jobs ended per second", "pabal_push_events_total", "ending"),
        rates("Lost jobs found per second", "pabal_push_swept_total"),
        Panel("Jobs that wait", "short", (Query("max by (queue) (pabal_queue_waiting)", "{{queue}}"),)),
        Panel(
            "Regular jobs, per second",
            "ops",
            (
                Query(rate("pabal_messages_erased_total"), "messages erased"),
                Query(rate("pabal_statistics_rows_total"), "counted for statistics"),
                Query(rate("pabal_broadcast_told_total"), "told by broadcasts"),
            ),
        ),
        Panel(
            "Checks of the audit log in a day",
            "short",
            (Query("sum by (result) (increase(pabal_audit_log_checks_total[1d]))", "{{result}}"),),
        ),
        Panel(
            "Wrong unread counts in a day",
            "short",
            (Query("sum(increase(pabal_unread_differences_total[1d]))", "differences"),),
        ),
        *own_costs("worker"),
    ),
)

STORES = Dashboard(
    "pabal-stores",
    "Pabal: MongoDB and Valkey",
    (
        Panel("MongoDB answers", "short", (Query('pabal_part_up{part=~"mongo|store"}', "{{job}} {{instance}}"),)),
        Panel("Valkey answers", "short", (Query('pabal_part_up{part="valkey"}', "{{job}} {{instance}}"),)),
        times("One write of the bridge to MongoDB", "pabal_bridge_commit_seconds"),
        rates("Writes of the bridge tried again, per second", "pabal_bridge_retries_total", "step"),
        Panel(
            "Batches written per second",
            "ops",
            (Query(rate("pabal_bridge_commit_seconds_count"), "batches"), Query(rate("pabal_bridge_stored_total"), "events")),
        ),
        times("History from the API", "pabal_api_request_seconds", where='route="/v1/chats/{chat}/messages"'),
        rates("Jobs that could not be queued in Valkey, per second", "pabal_jobs_total", "outcome", where='outcome!="sent"'),
        Panel("Jobs that wait in Valkey", "short", (Query("max by (queue) (pabal_queue_waiting)", "{{queue}}"),)),
    ),
)  # fmt: skip

ALL = (OVERVIEW, BROKER, BRIDGE, API, WORKER, STORES)


def _panel(number: int, panel: Panel) -> dict[str, Any]:
    across = COLUMNS // WIDTH
    instant = panel.kind == "table"
    return {
        "id": number + 1,
        "type": panel.kind,
        "title": panel.title,
        "datasource": DATASOURCE,
        "gridPos": {"x": number % across * WIDTH, "y": number // across * HEIGHT, "w": WIDTH, "h": HEIGHT},
        "fieldConfig": {"defaults": {"unit": panel.unit, "min": 0}, "overrides": []},
        "options": {} if instant else {"tooltip": {"mode": "multi", "sort": "desc"}},
        "targets": [
            {
                "refId": chr(ord("A") + index),
                "datasource": DATASOURCE,
                "expr": query.expr,
                "legendFormat": query.legend,
                "instant": instant,
                "range": not instant,
                **({"format": "table"} if instant else {}),
            }
            for index, query in enumerate(panel.queries)
        ],
    }


def render(dashboard: Dashboard) -> str:
    """The file, as Grafana 10 and later read it."""
    document = {
        "uid": dashboard.uid,
        "title": dashboard.title,
        "tags": ["pabal"],
        "schemaVersion": 39,
        "version": 1,
        "editable": False,
        "timezone": "browser",
        "refresh": "30s",
        "time": {"from": "now-3h", "to": "now"},
        "links": [{"type": "dashboards", "title": "Pabal", "tags": ["pabal"], "asDropdown": True, "keepTime": True}],
        "panels": [_panel(number, panel) for number, panel in enumerate(dashboard.panels)],
    }
    return json.dumps(document, indent=2, ensure_ascii=False) + "\n"


def files() -> dict[Path, str]:
    """Every file with what it has to hold."""
    return {DASHBOARDS / f"{one.uid.removeprefix('pabal-')}.json": render(one) for one in ALL}


def main(argv: Sequence[str] | None = None) -> int:
    """Write them, or compare: 1 when a file is not what it would be."""
    parser = argparse.ArgumentParser(
        prog="python -m deploy.grafana.generate_dashboards", description="Write the dashboards."
    )
    parser.add_argument("--check", action="store_true", help="write nothing; exit code 1 when a file is old")
    check = parser.parse_args(argv).check
    old = [path for path, text in files().items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    for path in old:
        if check:
            sys.stderr.write(f"{path} is old: run python -m deploy.grafana.generate_dashboards\n")
        else:
            path.write_text(files()[path], encoding="utf-8")
    return int(check and bool(old))


if __name__ == "__main__":
    sys.exit(main())
