from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import pytest
import structlog

from adapters.logging import MASKED, configure, mask
from adapters.memory.tracing import MemoryTracer
from adapters.tracing import within
from chat.tracing import Kind


@pytest.fixture(autouse=True)
def as_it_was() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = list(root.handlers), root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    return [json.loads(line) for line in capsys.readouterr().err.splitlines()]


def test_an_event_is_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", "bridge")
    structlog.get_logger("x").info("message.stored", chat="g-1", seq=7, title="가족")
    (line,) = lines(capsys)
    assert line.pop("timestamp")
    assert line == {
        "event": "message.stored",
        "level": "info",
        "process": "bridge",
        "chat": "g-1",
        "seq": 7,
        "title": "가족",
    }


def test_an_event_names_the_trace_that_it_belongs_to(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", "bridge")
    span = MemoryTracer().enter("ingest", Kind.CONSUMER)
    assert span is not None
    with within(span):
        structlog.get_logger("x").info("message.stored")
        logging.getLogger("somebody").warning("careful")
    structlog.get_logger("x").info("message.stored")
    assert [line.get("trace_id") for line in lines(capsys)] == [span.context.trace_id, span.context.trace_id, None]


def test_libraries_take_the_same_way(capsys: pytest.CaptureFixture[str]) -> None:
    configure("info", "json", "bridge")
    logging.getLogger("somebody").warning("careful with %s", "that")
    logging.getLogger("httpx").info("HTTP Request: POST …")
    (line,) = lines(capsys)
    assert (line["event"], line["level"], line["process"]) == ("careful with that", "warning", "bridge")


def test_the_level_is_a_threshold_and_configuring_again_replaces(capsys: pytest.CaptureFixture[str]) -> None:
    configure("error", "json", "bridge")
    configure("warning", "json", "api")
    log = structlog.get_logger("x")
    log.info("no")
    log.warning("yes")
    assert [(line["event"], line["process"]) for line in lines(capsys)] == [("yes", "api")]


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match="loud"):
        configure("loud", "json", "bridge")


@pytest.mark.parametrize("fmt", ["json", "console"])
def test_secrets_and_texts_never_come_out(capsys: pytest.CaptureFixture[str], fmt: Any) -> None:
    configure("debug", fmt, "api")
    log = structlog.get_logger("x").bind(token="hunter2")
    log.info(
        "user.signed_in",
        password="hunter2",
        access_token="hunter2",
        headers={"X-Authorization": "hunter2", "deep": [{"client_secret": "hunter2", "body": {"text": "hunter2"}}]},
        payload=b"hunter2",
        Text="hunter2",
    )
    try:
        secret = "hunter2"
        int(f"a message of {len(secret)} characters")
    except ValueError:
        log.exception("failed")
    printed = capsys.readouterr().err
    assert "hunter2" not in printed
    assert "a message of 7 characters" in printed
    assert printed.count(MASKED) == 9


def test_what_is_nested_too_deep_is_masked_whole() -> None:
    deep: dict[str, Any] = {"password": "hunter2"}
    for _ in range(10):
        deep = {"inner": deep}
    assert "hunter2" not in repr(mask(None, "info", {"event": "e", "deep": deep}))


@pytest.mark.parametrize("name", ["token_id", "tokens", "body_bytes", "texture", "passwords_checked"])
def test_other_names_stay(name: str) -> None:
    assert mask(None, "info", {"event": "e", name: 7})[name] == 7
