"""What nobody should have to watch: the real Prometheus and Alertmanager see what breaks, tell Slack and PagerDuty, and tell when it is mended."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial

import httpx
import pytest

from clients.python import ClientError
from deploy.grafana.generate_dashboards import DASHBOARDS
from stack.testing import RunningStack
from tests.e2e.test_event_types import Person
from tests.e2e.watching import PATIENCE, ROUTING_KEY, Watch, until, watching

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

TOKEN = "fcm-token-of-somebody-who-is-away"
SELECTOR = re.compile(r'\b((?:pabal|process)_\w+|up|ALERTS)\b(\{(?:[^{}"]|"[^"]*")*\})?')


@pytest.fixture(scope="module")
def watch(stack: RunningStack, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Watch]:
    with watching(stack, tmp_path_factory.mktemp("watching")) as found:
        yield found


@pytest.fixture(scope="module")
def traffic(watch: Watch) -> Iterator[Person]:
    """Somebody who writes, four times a second, to somebody who listens and to somebody who is away and has a phone."""
    ari, bo, away = (Person(watch.stack, name) for name in ("ari", "bo", "byeol"))
    away.api.put_push_token(TOKEN)
    away.client.close()
    chat = ari.api.create_chat("group", [bo.id, away.id], title="파발").id
    bo.client.join(chat)
    enough = threading.Event()

    def write() -> None:
        number = 0
        while not enough.wait(0.25):
            with suppress(ClientError):  # while the bridge is frozen
                ari.api.send(chat, text=f"{number}: 안녕하세요")
            number += 1

    writer = threading.Thread(target=write, name="writer")
    writer.start()
    yield ari
    enough.set()
    writer.join(PATIENCE)
    ari.close()
    bo.close()


def test_every_query_of_every_dashboard_is_answered(watch: Watch, traffic: Person) -> None:
    del traffic
    until(lambda: watch.query("sum(rate(pabal_push_events_total[5s])) > 0"), "pushes are seen")
    until(lambda: watch.query("sum(rate(pabal_broker_delivered_seconds_count[5s])) > 0"), "deliveries are seen")
    asked, answered = 0, 0
    for path in sorted(DASHBOARDS.glob("*.json")):
        for panel in json.loads(path.read_text(encoding="utf-8"))["panels"]:
            for target in panel["targets"]:
                expr = target["expr"].replace("$__rate_interval", "10s")
                found, selectors = watch.query(expr), [name + where for name, where in SELECTOR.findall(expr)]
                assert selectors, f"{path.name}, {panel['title']}: {expr} asks for nothing of ours"
                asked, answered = asked + 1, answered + bool(found)
                if not found and all(watch.has_series(_stored(selector)) for selector in selectors):
                    until(partial(watch.query, expr), f"{path.name}, {panel['title']}: {expr} has no answer")
    assert answered >= 0.75 * asked, f"of {asked} queries only {answered} found anything"


def _stored(selector: str) -> str:
    """Alerts that have ended are kept as series, and are no answer any more."""
    return 'ALERTS{alertstate="never"}' if selector.startswith("ALERTS") else selector


def test_a_frozen_bridge_is_told_to_slack_and_pagerduty_and_taken_back(watch: Watch, traffic: Person) -> None:
    del traffic
    got = watch.receiver
    with _frozen(watch, "bridge"):
        until(lambda: got.slack("[FIRING:1] ProcessDown bridge"), "Slack hears of it")
        until(lambda: got.pagerduty("trigger", "ProcessDown: bridge"), "PagerDuty hears of it")
    attachment = got.slack("[FIRING:1] ProcessDown bridge")[0]
    assert "*critical* bridge does not answer" in attachment["text"]
    assert "docs/operations.md#processdown" in attachment["text"]
    (event, *_) = got.pagerduty("trigger", "ProcessDown: bridge")
    assert event["routing_key"] == ROUTING_KEY
    assert event["payload"]["severity"] == "critical"
    assert event["payload"]["component"] == "bridge"
    assert event["payload"]["custom_details"]["runbook"] == "docs/operations.md#processdown"
    until(lambda: got.slack("[RESOLVED] ProcessDown bridge"), "Slack hears that it is over")
    until(lambda: got.pagerduty("resolve", "ProcessDown: bridge"), "PagerDuty hears that it is over")


@contextmanager
def _frozen(watch: Watch, process: str) -> Iterator[None]:
    """It lives, and answers nobody."""
    pid = watch.stack.pause(process)
    try:
        yield
    finally:
        watch.stack.resume(pid)


def test_a_provider_that_fails_is_told_to_slack_alone(watch: Watch, traffic: Person) -> None:
    del traffic
    got = watch.receiver
    with _failing_provider(watch):
        until(lambda: got.slack("[FIRING:1] PushFailureRate worker"), "Slack hears of it")
    assert "*warning* Pushes fail" in got.slack("[FIRING:1] PushFailureRate worker")[0]["text"]
    until(lambda: got.slack("[RESOLVED] PushFailureRate worker"), "Slack hears that it is over")
    assert got.pagerduty("trigger", "PushFailureRate") == [], "a warning wakes nobody"


@contextmanager
def _failing_provider(watch: Watch) -> Iterator[None]:
    """It answers 500, whatever it is asked."""
    rules = f"{watch.stack.info['fcm_url']}/control/rules"
    httpx.post(rules, json={"status": 500, "times": 1_000_000}, trust_env=False).raise_for_status()
    try:
        yield
    finally:
        httpx.delete(rules, trust_env=False).raise_for_status()


@pytest.mark.long
def test_a_frozen_database_is_told_by_everybody_who_needs_it(watch: Watch, traffic: Person) -> None:
    del traffic
    got, parts = watch.receiver, [("bridge", "store"), ("worker", "mongo")]
    with _frozen(watch, "mongod"):
        for job, _ in parts:
            until(partial(got.slack, f"[FIRING:1] MongoUnhealthy {job}"), f"Slack hears of it from the {job}")
        until(lambda: got.pagerduty("trigger", "MongoUnhealthy"), "PagerDuty hears of it")
    for job, part in parts:
        until(partial(got.slack, f"[RESOLVED] MongoUnhealthy {job}"), "Slack hears that it is over")
        assert watch.query(f'pabal_part_up{{job="{job}",part="{part}"}} == 1')


def test_a_process_that_is_down_keeps_its_other_alerts_back(watch: Watch) -> None:
    """Of a second stack, as it were: alerts that nobody resolves while the test looks at them."""
    names = {"ProcessDown": "down", "StoreLatency": "latency", "DeadLetters": "dead_letters"}
    alerts = [{"labels": {"alertname": name, "kind": kind, "job": "bridge2"}} for name, kind in names.items()]
    alerts.append({"labels": {"alertname": "DeliveryLatency", "kind": "latency", "job": "broker2"}})
    url = f"{watch.alertmanager}/api/v2/alerts"
    httpx.post(url, json=alerts, trust_env=False).raise_for_status()

    def kept_back() -> set[str]:
        found = httpx.get(url, params={"filter": 'job=~".*2"'}, trust_env=False).json()
        return {alert["labels"]["alertname"] for alert in found if alert["status"]["inhibitedBy"]}

    until(lambda: kept_back() == {"StoreLatency"}, "the process explains what is slow, and nothing else")
