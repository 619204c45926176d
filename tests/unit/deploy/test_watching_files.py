"""The files of deploy/ for Prometheus, Alertmanager and Grafana: their own tools take them, every alert is tested and explained, and
nothing in them asks for a metric that no process shows."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.grafana import generate_dashboards
from stack import ports
from stack.processes import REPOSITORY
from tests.conftest import unavailable

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
ALERTMANAGER = REPOSITORY / "deploy" / "alertmanager" / "alertmanager.yml"
GRAFANA = REPOSITORY / "deploy" / "grafana"
RULE_FILES = sorted((PROMETHEUS / "rules").glob("*.yml"))
RULE_TESTS = sorted((REPOSITORY / "tests" / "alerts").glob("*.yml"))
OPERATIONS = (REPOSITORY / "docs" / "operations.md").read_text(encoding="utf-8")
METRIC = re.compile(r"\b((?:pabal|process)_\w+)")
OWN_LABELS = {"severity", "kind"}


def _rules() -> Iterator[dict[str, Any]]:
    for path in RULE_FILES:
        for group in yaml.safe_load(path.read_text(encoding="utf-8"))["groups"]:
            yield from group["rules"]


RULES = {rule["alert"]: rule for rule in _rules()}


def _tool(*argv: str) -> str:
    """What it says; it must be content."""
    program = shutil.which(argv[0]) or unavailable(f"{argv[0]} is not installed: bash tests/peers.sh")
    done = subprocess.run([program, *argv[1:]], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


# ---- Prometheus


def test_promtool_takes_rules_and_configurations() -> None:
    _tool("promtool", "check", "rules", *map(str, RULE_FILES))
    _tool("promtool", "check", "config", str(PROMETHEUS / "prometheus.yml"), str(PROMETHEUS / "local.yml"))


def test_every_alert_fires_and_does_not_fire() -> None:
    assert [path.stem for path in RULE_TESTS] == sorted(RULES)
    for path in RULE_TESTS:
        expected = [
            case["exp_alerts"]
            for test in yaml.safe_load(path.read_text(encoding="utf-8"))["tests"]
            for case in test["alert_rule_test"]
            if case["alertname"] == path.stem
        ]
        assert any(expected), f"{path.name}: it never fires"
        assert not all(expected), f"{path.name}: it always fires"
    _tool("promtool", "test", "rules", *map(str, RULE_TESTS))


@pytest.mark.parametrize("name", RULES)
def test_an_alert_says_what_it_is_and_where_to_read_on(name: str) -> None:
    rule = RULES[name]
    assert rule["labels"]["severity"] in {"critical", "warning"}
    assert set(rule["labels"]) - {"job"} == OWN_LABELS
    assert rule["annotations"]["runbook"] == f"docs/operations.md#{name.lower()}"
    assert set(rule["annotations"]) == {"summary", "description", "runbook"}
    # What adds up over a time needs no patience on top.
    assert rule["for"] != "0m" or re.search(r"increase\(|changes\(", rule["expr"]), f"{name} fires at the first glance"


def test_every_alert_has_its_section_and_the_reverse() -> None:
    section = OPERATIONS.split("\n## Alerts\n", 1)[1].split("\n## ", 1)[0]
    parts = re.split(r"^#### (\w+)\n", section, flags=re.MULTILINE)[1:]
    texts = dict(zip(parts[::2], parts[1::2], strict=True))
    assert set(texts) == set(RULES)
    for name, text in texts.items():
        assert text.startswith(f"\n*{RULES[name]['labels']['severity'].title()}.* "), f"{name}: another severity"


def _documented() -> set[str]:
    found: set[str] = set()
    for name, type_ in re.findall(r"^\| `(\w+)` \| (counter|gauge|histogram) \|", OPERATIONS, re.MULTILINE):
        found |= {f"{name}_{part}" for part in ("bucket", "count", "sum")} if type_ == "histogram" else {name}
    return found


def test_rules_and_dashboards_ask_for_metrics_that_are_there() -> None:
    exprs = {name: rule["expr"] for name, rule in RULES.items()}
    for dashboard in generate_dashboards.ALL:
        for panel in dashboard.panels:
            exprs[f"{dashboard.uid}: {panel.title}"] = " ".join(query.expr for query in panel.queries)
    documented = _documented()
    for where, expr in exprs.items():
        assert set(METRIC.findall(expr)) <= documented, where


def _jobs(name: str) -> dict[str, dict[str, Any]]:
    config = yaml.safe_load((PROMETHEUS / name).read_text(encoding="utf-8"))
    assert config["rule_files"] == ["rules/*.yml"]
    return {job["job_name"]: job for job in config["scrape_configs"]}


def test_both_configurations_scrape_the_same_at_the_documented_ports() -> None:
    compose, local = _jobs("prometheus.yml"), _jobs("local.yml")
    assert set(compose) == set(local)
    default = {port.setting: port.default for port in ports.TABLE}
    for job, setting in (
        ("broker", "PABAL_BROKER_HTTP"),
        ("bridge", "PABAL_BRIDGE_HTTP"),
        ("api", "PABAL_API_BIND"),
        ("worker", "PABAL_WORKER_HTTP"),
    ):
        (found,) = compose[job]["dns_sd_configs"]
        assert job in found["names"]
        assert found["port"] == default[setting]
        assert local[job]["static_configs"] == [{"targets": [f"127.0.0.1:{default[setting]}"]}]


# ---- Alertmanager


def test_amtool_takes_the_configuration() -> None:
    said = _tool("amtool", "check-config", str(ALERTMANAGER))
    assert "2 receivers" in said


@pytest.mark.parametrize(
    ("severity", "receivers"), [("critical", "pagerduty,slack"), ("warning", "slack"), ("", "slack")]
)
def test_what_is_critical_goes_to_pagerduty_too(severity: str, receivers: str) -> None:
    argv = ("amtool", "config", "routes", "test", f"--config.file={ALERTMANAGER}", f"--verify.receivers={receivers}")
    _tool(*argv, "alertname=X", f"severity={severity}")


def test_what_is_kept_back_are_alerts_that_there_are() -> None:
    """A kind or a name that no rule has would keep nothing back, silently."""
    kinds, jobs = {rule["labels"]["kind"] for rule in RULES.values()}, {"broker", "bridge", "api", "worker"}
    known = {"kind": kinds, "alertname": set(RULES), "job": jobs, "part": {"jobs", "beat"}}
    for rule in yaml.safe_load(ALERTMANAGER.read_text(encoding="utf-8"))["inhibit_rules"]:
        for matcher in rule["source_matchers"] + rule["target_matchers"]:
            label, values = re.fullmatch(r'(\w+) =~? "?([\w|]+)"?', matcher).groups()  # type: ignore[union-attr]
            assert set(values.split("|")) <= known[label], matcher


def test_secrets_are_files() -> None:
    text = ALERTMANAGER.read_text(encoding="utf-8")
    assert "slack_api_url_file:" in text
    assert "routing_key_file:" in text
    assert re.search(r"https?://|\b(api_url|routing_key|service_key|slack_api_url):", text) is None


# ---- Grafana


def test_dashboards_are_what_the_generator_writes(capsys: pytest.CaptureFixture[str]) -> None:
    assert generate_dashboards.main(["--check"]) == 0, capsys.readouterr().err
    assert set((GRAFANA / "dashboards").glob("*")) == set(generate_dashboards.files())


def test_the_check_tells_of_a_dashboard_that_is_old(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(generate_dashboards, "DASHBOARDS", tmp_path)
    assert generate_dashboards.main(["--check"]) == 1
    assert "overview.json is old" in capsys.readouterr().err
    assert generate_dashboards.main([]) == 0
    assert generate_dashboards.main(["--check"]) == 0
    (tmp_path / "api.json").write_text("{}")
    assert generate_dashboards.main(["--check"]) == 1


def test_dashboards_ask_the_data_source_that_is_provisioned() -> None:
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    assert {"type": source["type"], "uid": source["uid"]} == generate_dashboards.DATASOURCE
    uids = [dashboard.uid for dashboard in generate_dashboards.ALL]
    assert len(set(uids)) == len(uids)
