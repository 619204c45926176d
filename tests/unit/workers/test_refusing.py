"""What is in a queue and is no job: `workers.transport.well_formed`, `workers.consumer.unfit`."""

from __future__ import annotations

import json
from typing import Any

import pytest
from kombu.message import Message

from chat.jobs import PUSH_EVENT
from workers.consumer import unfit
from workers.transport import well_formed

KNOWN = {PUSH_EVENT}
ENVELOPE: dict[str, Any] = {
    "body": "W10=",
    "headers": {"task": PUSH_EVENT},
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "properties": {
        "delivery_tag": "t",
        "body_encoding": "base64",
        "delivery_info": {"exchange": "", "routing_key": "push"},
    },
}


def without(path: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(json.dumps(ENVELOPE))
    *way, last = path.split(".")
    inner = found
    for name in way:
        inner = inner[name]
    del inner[last]
    return found


def test_an_envelope_of_kombu() -> None:
    assert well_formed(ENVELOPE)


@pytest.mark.parametrize(
    "item",
    [
        None,
        [],
        "안녕",
        {},
        *map(
            without,
            [
                "body",
                "headers",
                "properties",
                "properties.delivery_tag",
                "properties.delivery_info",
                "properties.delivery_info.exchange",
                "properties.delivery_info.routing_key",
            ],
        ),
        {**ENVELOPE, "headers": []},
        {**ENVELOPE, "body": 7},
        {**ENVELOPE, "properties": {**ENVELOPE["properties"], "body_encoding": "rot13"}},
    ],
)
def test_no_envelope(item: object) -> None:
    assert not well_formed(item)


def message(
    body: object, *, raw: bytes | None = None, content_type: str = "application/json", **headers: Any
) -> Message:
    return Message(
        body=raw if raw is not None else json.dumps(body).encode(),
        headers=headers,
        content_type=content_type,
        content_encoding="utf-8",
        accept={"application/json"},
    )


def test_a_job_of_ours() -> None:
    assert unfit(message([["m1"], {}, {}], task=PUSH_EVENT), KNOWN) is None
    assert unfit(message([[], {}, {}], task=PUSH_EVENT), KNOWN) is None


@pytest.mark.parametrize(
    ("found", "why"),
    [
        (message([[], {}, {}]), "it names no job"),
        (message([[], {}, {}], task=7), "it names no job"),
        (message([[], {}, {}], task="pabal.of.tomorrow"), "there is no such job"),
        (message(None, raw=b"\xff{", task=PUSH_EVENT), "it can't be decoded: DecodeError"),
        (
            message(None, raw=b"cos\nsystem", content_type="application/x-python-serialize", task=PUSH_EVENT),
            "it can't be decoded: ContentDisallowed",
        ),
        (message({"task": PUSH_EVENT}, task=PUSH_EVENT), "it is not of Celery's protocol 2"),
        (message([["m1"], {}], task=PUSH_EVENT), "it is not of Celery's protocol 2"),
        (message([[7], {}, {}], task=PUSH_EVENT), "its arguments are no ids"),
        (message([["m1"], {"now": True}, {}], task=PUSH_EVENT), "its arguments are no ids"),
        (message(["m1", {}, {}], task=PUSH_EVENT), "its arguments are no ids"),
    ],
)
def test_no_job_of_ours(found: Message, why: str) -> None:
    assert unfit(found, KNOWN) == why
