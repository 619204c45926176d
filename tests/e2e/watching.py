"""Debian's Prometheus and Alertmanager beside a running stack, with the files of deploy/ and a receiver in the place of Slack and PagerDuty.

Time is compressed: what is a minute in the ranges of deploy/prometheus/rules is a second here, and every `for` is one. Expressions, labels,
routes and texts are those of the files.
"""

from __future__ import annotations

import json
import re
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import yaml

from stack import ports
from stack.processes import REPOSITORY
from stack.testing import RunningStack
from tests.conftest import running, unavailable

DEPLOY = REPOSITORY / "deploy"
ROUTING_KEY = "0123456789abcdef0123456789abcdef"
SLACK_PATH, PAGERDUTY_PATH = "/services/T0/B0/secret", "/v2/enqueue"
PATIENCE = 90.0
"""Seconds; a busy machine may need many of them."""


class Receiver:
    """Takes what Alertmanager sends."""

    def __init__(self) -> None:
        self.got: list[tuple[str, dict[str, Any]]] = []
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.got.append((self.path, json.loads(body)))
                answer = b"ok" if self.path == SLACK_PATH else b'{"status":"success","message":"","dedup_key":"x"}'
                self.send_response(200 if self.path == SLACK_PATH else 202)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
                del format, args

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, name="receiver", daemon=True)
        self._thread.start()
        self.url = f"http://127.0.0.1:{self._server.server_port}"

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def slack(self, title: str) -> list[dict[str, Any]]:
        """The attachments whose title begins so."""
        found = [attachment for path, body in self.got if path == SLACK_PATH for attachment in body["attachments"]]
        return [attachment for attachment in found if attachment["title"].startswith(title)]

    def pagerduty(self, action: str, summary: str) -> list[dict[str, Any]]:
        """The events of this kind whose summary begins so; a resolve has none and is found by its key."""
        events = [body for path, body in self.got if path == PAGERDUTY_PATH]
        keys = {
            event["dedup_key"] for event in events if event.get("payload", {}).get("summary", "").startswith(summary)
        }
        return [event for event in events if event["event_action"] == action and event["dedup_key"] in keys]


@dataclass(frozen=True, slots=True)
class Watch:
    """All of it, running."""

    stack: RunningStack
    prometheus: str
    alertmanager: str
    receiver: Receiver

    def query(self, expr: str) -> list[dict[str, Any]]:
        """The result of an instant query; it must succeed."""
        answer = httpx.post(f"{self.prometheus}/api/v1/query", data={"query": expr}, trust_env=False).json()
        assert answer["status"] == "success", f"{expr}: {answer.get('error')}"
        found: list[dict[str, Any]] = answer["data"]["result"]
        return found

    def has_series(self, selector: str) -> bool:
        """Whether Prometheus knows any series of it."""
        answer = httpx.get(f"{self.prometheus}/api/v1/series", params={"match[]": selector}, trust_env=False).json()
        assert answer["status"] == "success", f"{selector}: {answer.get('error')}"
        return bool(answer["data"])


def until(condition: Callable[[], Any], what: str) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.1)


@contextmanager
def watching(stack: RunningStack, directory: Path) -> Iterator[Watch]:
    """Start them; they end with the block."""
    prometheus, alertmanager = _program("prometheus"), _program("prometheus-alertmanager")
    at, alerts_at = (f"127.0.0.1:{ports.free_port()}" for _ in range(2))
    with ExitStack() as exits:
        receiver = Receiver()
        exits.callback(receiver.close)
        argv = [
            alertmanager,
            f"--config.file={_alertmanager_config(directory, receiver.url)}",
            f"--storage.path={directory / 'alertmanager'}",
            f"--web.listen-address={alerts_at}",
            "--cluster.listen-address=",
        ]
        exits.enter_context(running(argv, directory / "alertmanager.log", ready=lambda: _problem(alerts_at)))
        argv = [
            prometheus,
            f"--config.file={_prometheus_config(directory, stack, at, alerts_at)}",
            f"--storage.tsdb.path={directory / 'prometheus'}",
            f"--web.listen-address={at}",
            "--rules.alert.resend-delay=1s",
        ]
        exits.enter_context(running(argv, directory / "prometheus.log", ready=lambda: _problem(at)))
        yield Watch(stack, f"http://{at}", f"http://{alerts_at}", receiver)


def _program(name: str) -> str:
    return shutil.which(name) or unavailable(f"{name} is not installed: bash tests/peers.sh")


def _problem(address: str) -> str | None:
    try:
        answer = httpx.get(f"http://{address}/-/ready", trust_env=False)
    except httpx.TransportError as error:
        return str(error)
    return None if answer.status_code == 200 else answer.text


def _alertmanager_config(directory: Path, receiver: str) -> Path:
    text = (DEPLOY / "alertmanager" / "alertmanager.yml").read_text(encoding="utf-8")
    secrets = {"slack-api-url": f"{receiver}{SLACK_PATH}", "pagerduty-routing-key": ROUTING_KEY}
    for name, value in secrets.items():
        (directory / name).write_text(value)
        assert f"/run/secrets/{name}\n" in text
    config = yaml.safe_load(text.replace("/run/secrets", str(directory)))
    config["global"]["pagerduty_url"] = f"{receiver}{PAGERDUTY_PATH}"
    config["route"] |= {"group_wait": "100ms", "group_interval": "1s"}
    return _write(directory / "alertmanager.yml", config)


def _prometheus_config(directory: Path, stack: RunningStack, own: str, alertmanager: str) -> Path:
    config = yaml.safe_load((DEPLOY / "prometheus" / "local.yml").read_text(encoding="utf-8"))
    config["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    config["rule_files"] = [str(directory / "rules" / "*.yml")]
    config["alerting"]["alertmanagers"][0]["static_configs"][0]["targets"] = [alertmanager]
    at = {name: urlsplit(url).netloc for name, url in stack.info["metrics"].items()}
    at |= {"api": urlsplit(stack.info["api"]).netloc, "prometheus": own, "alertmanager": alertmanager}
    for job in config["scrape_configs"]:
        job["static_configs"][0]["targets"] = [at[job["job_name"]]]
    (directory / "rules").mkdir()
    for path in (DEPLOY / "prometheus" / "rules").glob("*.yml"):
        (directory / "rules" / path.name).write_text(_compressed(path.read_text(encoding="utf-8")))
    return _write(directory / "prometheus.yml", config)


def _compressed(rules: str) -> str:
    """A minute becomes a second in ranges and offsets, and every `for` is one second."""
    seconds = {"m": 1, "h": 60}

    def shorter(found: re.Match[str]) -> str:
        return f"{found[1]}{int(found[2]) * seconds[found[3]]}s"

    return re.sub(r"(\[|offset )(\d+)([mh])\b", shorter, re.sub(r"(?m)^( +for: ).+$", r"\g<1>1s", rules))


def _write(path: Path, config: Any) -> Path:
    path.write_text(yaml.safe_dump(config, allow_unicode=True))
    return path
