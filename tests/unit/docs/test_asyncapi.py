"""`docs/asyncapi.yaml`: up to date, valid AsyncAPI 3.0.0, complete, and with examples that our own code reads."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from jsonschema import Draft7Validator

from broker.limits import DEFAULTS
from broker.presence import PresenceEvents
from chat import envelopes, topics
from docs import generate_asyncapi

DOCS = Path(generate_asyncapi.__file__).parent
DOCUMENT: dict[str, Any] = yaml.safe_load((DOCS / "asyncapi.yaml").read_text(encoding="utf-8"))
MESSAGES: dict[str, dict[str, Any]] = DOCUMENT["components"]["messages"]
EXAMPLES = [
    pytest.param(name, example["payload"], id=f"{name}-{example['name']}")
    for name, message in MESSAGES.items()
    for example in message["examples"]
]


def _object(required: list[str], **properties: Any) -> dict[str, Any]:
    """A closed object, but for the extensions that AsyncAPI allows everywhere."""
    return {
        "type": "object",
        "required": required,
        "properties": properties,
        "patternProperties": {"^x-": {}},
        "additionalProperties": False,
    }


def _map_of(value: dict[str, Any]) -> dict[str, Any]:
    return {"type": "object", "patternProperties": {"^[A-Za-z0-9_-]+$": value}, "additionalProperties": False}


TEXT = {"type": "string", "minLength": 1}
REF = {"type": "object", "required": ["$ref"], "properties": {"$ref": TEXT}, "additionalProperties": False}
BINDING = _object(
    ["qos", "bindingVersion"],
    qos={"enum": [0, 1, 2]},
    retain={"type": "boolean"},
    bindingVersion={"const": "0.2.0"},
)
# What the specification requires of the objects that we use (https://www.asyncapi.com/docs/reference/specification/v3.0.0).
SPECIFICATION = _object(
    ["asyncapi", "info"],
    asyncapi={"const": "3.0.0"},
    id={"type": "string", "format": "uri", "pattern": "^[a-z]+:"},
    info=_object(
        ["title", "version"],
        title=TEXT,
        version=TEXT,
        description=TEXT,
        license=_object(["name"], name=TEXT, url=TEXT),
    ),
    defaultContentType=TEXT,
    servers=_map_of(
        _object(
            ["host", "protocol"],
            host={"type": "string", "pattern": "^[^/]+$"},
            protocol={"enum": ["mqtt", "ws"]},
            protocolVersion=TEXT,
            pathname={"type": "string", "pattern": "^/"},
            description=TEXT,
            security={"type": "array", "items": REF},
        )
    ),
    channels=_map_of(
        _object(
            ["address", "messages"],
            address=TEXT,
            description=TEXT,
            messages={**_map_of(REF), "minProperties": 1},
            parameters=_map_of(REF),
        )
    ),
    operations=_map_of(
        _object(
            ["action", "channel"],
            action={"enum": ["send", "receive"]},
            channel=REF,
            summary=TEXT,
            messages={"type": "array", "items": REF, "minItems": 1},
            bindings=_object(["mqtt"], mqtt=BINDING),
        )
    ),
    components=_object(
        [],
        messages=_map_of(
            _object(
                ["name", "payload"],
                name=TEXT,
                summary=TEXT,
                contentType={"type": "string", "pattern": "^[a-z]+/[a-z-]+$"},
                payload=REF,
                examples={"type": "array", "minItems": 1, "items": _object(["payload"], name=TEXT, payload={})},
            )
        ),
        schemas=_map_of({"type": "object"}),
        parameters=_map_of(
            _object([], description=TEXT, examples={"type": "array", "items": TEXT}, enum={"type": "array"})
        ),
        securitySchemes=_map_of(_object(["type"], type={"const": "userPassword"}, description=TEXT)),
    ),
)


def _references(value: Any) -> list[str]:
    if isinstance(value, dict):
        own = [value["$ref"]] if "$ref" in value else []
        return own + [found for inner in value.values() for found in _references(inner)]
    if isinstance(value, list):
        return [found for inner in value for found in _references(inner)]
    return []


def _resolve(reference: str) -> Any:
    assert reference.startswith("#/"), f"{reference} leads out of the document"
    found: Any = DOCUMENT
    for part in reference[2:].split("/"):
        found = found[part.replace("~1", "/").replace("~0", "~")]
    return found


def _schema(name: str) -> dict[str, Any]:
    """A schema with everything that it refers to."""
    return {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}


def test_the_file_is_what_the_generator_writes() -> None:
    assert (DOCS / "asyncapi.yaml").read_text(encoding="utf-8") == generate_asyncapi.text(), (
        "run: python -m docs.generate_asyncapi"
    )
    assert generate_asyncapi.main(["--check"]) == 0


def test_check_tells_of_a_file_that_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = tmp_path / "asyncapi.yaml"
    old.write_text("asyncapi: 3.0.0\n")
    monkeypatch.setattr(generate_asyncapi, "TARGET", old)
    assert generate_asyncapi.main(["--check"]) == 1
    assert generate_asyncapi.main([]) == 0
    assert generate_asyncapi.main(["--check"]) == 0


def test_it_is_what_asyncapi_3_asks_for() -> None:
    errors = [f"{'/'.join(map(str, error.path))}: {error.message}" for error in _validator().iter_errors(DOCUMENT)]
    assert errors == []


@pytest.mark.parametrize("missing", ["asyncapi", "info"])
def test_the_check_itself_can_fail(missing: str) -> None:
    broken = {key: value for key, value in DOCUMENT.items() if key != missing}
    assert not _validator().is_valid(broken)
    assert not _validator().is_valid({**DOCUMENT, "topics": {}})


def _validator() -> Draft7Validator:
    return Draft7Validator(SPECIFICATION)


def test_every_reference_resolves_within_the_document() -> None:
    references = _references(DOCUMENT)
    assert len(references) > 50
    for reference in references:
        assert _resolve(reference) is not None


def test_an_operation_names_messages_of_its_own_channel() -> None:
    for operation in DOCUMENT["operations"].values():
        channel = operation["channel"]["$ref"]
        assert all(message["$ref"].startswith(f"{channel}/messages/") for message in operation["messages"])


def test_parameters_are_those_of_the_address() -> None:
    for channel in DOCUMENT["channels"].values():
        assert re.findall(r"\{([a-z]+)\}", channel["address"]) == list(channel.get("parameters", {}))


def test_every_row_of_the_topic_table_is_a_channel() -> None:
    addresses = {channel["address"] for channel in DOCUMENT["channels"].values()}
    table = re.findall(r"^\| `([^`]+)` \|", topics.__doc__ or "", re.MULTILINE)
    assert len(table) == len(topics.Kind)
    for row in table:
        stem, _, choice = row.partition("{delivered,")
        words = choice.rstrip("}").split(",") if choice else []
        expected = {stem + word for word in ("delivered", *words)} if words else {row.replace("/#", "/{rest}")}
        assert expected <= addresses
        addresses -= expected
    assert addresses == set()


def test_every_channel_is_a_topic_that_our_code_builds_and_parses() -> None:
    values = {"chat": "g-1", "user": "haneul", "device": "dev-1", "rest": "temperature"}
    kinds = set()
    for channel in DOCUMENT["channels"].values():
        parsed = topics.parse(channel["address"].format(**values))
        assert parsed is not None, channel["address"]
        kinds.add(parsed.kind)
    assert kinds == set(topics.Kind)


def test_an_action_is_told_from_the_side_of_the_server() -> None:
    actions = {name: operation["action"] for name, operation in DOCUMENT["operations"].items()}
    assert actions["receiveChatSend"] == "receive"
    assert "sendChatSend" not in actions
    assert actions["sendChatMessages"] == "send"
    assert "receiveChatMessages" not in actions
    assert {"sendChatTyping", "receiveChatTyping"} <= actions.keys()


@pytest.mark.parametrize(("name", "payload"), EXAMPLES)
def test_an_example_is_valid_by_its_schema(name: str, payload: Any) -> None:
    assert [error.message for error in Draft7Validator(_schema(name)).iter_errors(payload)] == []


@pytest.mark.parametrize(("name", "payload"), EXAMPLES)
def test_an_example_is_read_by_our_own_code(name: str, payload: Any) -> None:
    encoded = msgspec.json.encode(payload)
    match name:
        case "Send":
            envelopes.read_send(encoded)
        case "Ack":
            envelopes.read_ack(encoded)
        case "SyncRequest":
            envelopes.read_sync(encoded)
        case "Plain":
            body = envelopes.wrap_plain(payload.encode(), ingest_id="1", content_type=None).body
            assert body is not None
            assert body.data == payload
        case "Typing":
            assert isinstance(payload, dict)
        case "PresenceState":
            assert isinstance(payload["online"], bool)
        case _:
            struct = envelopes.decode(encoded, getattr(envelopes, name))
            assert msgspec.json.decode(envelopes.encode(struct)) == payload


@pytest.mark.parametrize(
    ("name", "wrong"),
    [
        ("Send", {"body": {"text": "no id"}}),
        ("Send", {"id": "1", "body": {"text": "x"}, "unknown": 1}),
        ("Event", {"type": "message"}),
        ("Delivered", {"marks": [["g-1", "haneul"]]}),
        ("Reject", {"type": "reset", "code": "x", "reason": "y"}),
        ("PresenceState", {"online": "yes", "at": "2026-05-04T03:12:01Z"}),
    ],
)
def test_a_schema_refuses_what_is_wrong(name: str, wrong: Any) -> None:
    assert not Draft7Validator(_schema(name)).is_valid(wrong)


def test_presence_is_what_the_broker_publishes() -> None:
    published: dict[str, bytes] = {}

    def publish(topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> None:
        del qos, retain
        published[topic] = payload

    events = PresenceEvents(
        publish, None, later=lambda _seconds, _action: None, clock=lambda: 0.0, limits=lambda: DEFAULTS
    )
    events.connected("haneul", "haneul:phone")
    state = msgspec.json.decode(published[topics.presence("haneul")])
    event = msgspec.json.decode(published[topics.event("connected")])
    assert Draft7Validator(_schema("PresenceState")).is_valid(state)
    assert Draft7Validator(_schema("Connection")).is_valid(event)


def test_the_version_is_the_projects() -> None:
    project = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]
    assert DOCUMENT["info"]["version"] == project["version"]
    assert DOCUMENT["info"]["license"]["name"] == project["license"]
