"""Write `docs/asyncapi.yaml` (AsyncAPI 3.0.0): the topics of `chat/topics.py` with the envelopes of `chat/envelopes.py`.

    python -m docs.generate_asyncapi            write it
    python -m docs.generate_asyncapi --check    exit code 1 when the file is not what would be written

The table at the head of `chat/topics.py` is the source: each of its rows becomes a channel, and a row that is not described in
`_CHANNELS` below is an error. Schemas come from the structs, messages and examples from `docs/asyncapi_messages.py`.
Operations are told from Pabal's side, as AsyncAPI wants it: it *receives* what clients publish and *sends* what they subscribe to.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import yaml

from chat import topics
from chat.envelopes import encode
from docs.asyncapi_messages import CHAT, ENVELOPES, OTHERS

TARGET = Path(__file__).with_name("asyncapi.yaml")
VERSION = "0.1.0"
INTERNAL = ("only", "hidden_by")
"""Fields of an event that the store keeps and nobody receives."""

MAX_QOS = 1
"""What the broker grants today; the table says what the contract allows."""

_DESCRIPTION = """\
The topics of Pabal and what travels on them. Clients speak MQTT 3.1.1 or 5.0 over TCP or WebSocket.

* CONNECT: user name = the user's handle and password = an access token, or user name = `dev-…` and password = the device's secret.
  The client id is the user name, or the user name, `:` and an instance (`haneul:phone`).
* Publish messages with QoS 1: the PUBACK means that the message is stored. QoS 2 is taken too: its PUBREC means the same.
* A message that is refused is answered on `users/{user}/inbox`, and over MQTT 5 by the reason code of the PUBACK too.

Written by `python -m docs.generate_asyncapi` from `chat/topics.py` and `chat/envelopes.py`; not edited by hand."""

# Address of a channel -> (id, messages).
_CHANNELS: dict[str, tuple[str, tuple[str, ...]]] = {
    "chats/{chat}/send/{user}": ("chatSend", ("Send", "Plain")),
    "chats/{chat}/messages": ("chatMessages", ("Event",)),
    "chats/{chat}/ack/{user}": ("chatAck", ("Ack",)),
    "chats/{chat}/receipts": ("chatReceipts", ("ReceiptUpdate",)),
    "chats/{chat}/typing/{user}": ("chatTyping", ("Typing",)),
    "users/{user}/inbox": (
        "userInbox",
        ("Invitation", "Announcement", "Reject", "SyncPage", "Reset", "SyncDone", "Event", "ReceiptUpdate"),
    ),
    "users/{user}/sync": ("userSync", ("SyncRequest",)),
    "users/{user}/presence": ("userPresence", ("PresenceState",)),
    "devices/{device}/telemetry/{rest}": ("deviceTelemetry", ("Plain",)),
    "devices/{device}/commands/{rest}": ("deviceCommands", ("Plain",)),
    "$events/delivered": ("eventDelivered", ("Delivered",)),
    "$events/connected": ("eventConnected", ("Connection",)),
    "$events/disconnected": ("eventDisconnected", ("Connection",)),
}

_PARAMETERS = {
    "chat": {"description": "The id of a chat, as the API answered it.", "examples": [CHAT]},
    "user": {"description": "A user's handle, or a device's id where a device publishes.", "examples": ["haneul"]},
    "device": {"description": "A device's id, `dev-…`.", "examples": ["dev-livingroom"]},
    "rest": {"description": "One level or several, as the device likes.", "examples": ["temperature"]},
}


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the topic table, as it is written there."""

    topic: str
    publisher: str
    subscriber: str
    qos: str

    def addresses(self) -> list[str]:
        """The channel addresses that the row stands for."""
        topic = re.sub(r"/#$", "/{rest}", self.topic)
        choice = re.search(r"\{([a-z]+(?:,[a-z]+)+)\}", topic)
        if choice is None:
            return [topic]
        return [topic.replace(choice[0], word) for word in choice[1].split(",")]


def rows() -> list[Row]:
    """The topic table of `chat/topics.py`."""
    text = inspect.cleandoc(topics.__doc__ or "")
    cells = [re.split(r"\s*\|\s*", line.strip("| ")) for line in text.splitlines() if line.startswith("| `")]
    return [Row(topic.strip("`"), publisher, subscriber, qos) for topic, publisher, subscriber, qos in cells]


def document() -> dict[str, Any]:
    """The whole AsyncAPI document.

    Raises:
        KeyError: a row of the topic table has no description here.
    """
    channels: dict[str, Any] = {}
    operations: dict[str, Any] = {}
    for row in rows():
        for address in row.addresses():
            name, messages = _CHANNELS[address]
            channels[name] = _channel(address, row, messages)
            operations |= _operations(name, row, messages)
    return {
        "asyncapi": "3.0.0",
        "id": "urn:pabal",
        "info": {
            "title": "Pabal",
            "version": VERSION,
            "description": _DESCRIPTION,
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": _servers(),
        "channels": channels,
        "operations": operations,
        "components": {
            "messages": _messages(),
            "schemas": _schemas(),
            "parameters": _PARAMETERS,
            "securitySchemes": {
                "userPassword": {
                    "type": "userPassword",
                    "description": "A handle with an access token (`POST /v1/auth/token`), or a device id with its secret.",
                }
            },
        },
    }


def text() -> str:
    """The document as YAML."""
    return yaml.dump(document(), Dumper=_Dumper, allow_unicode=True, sort_keys=False, width=120)


def main(arguments: list[str]) -> int:
    """Write the file, or with `--check` compare it; the exit code."""
    made = text()
    if arguments == ["--check"]:
        if TARGET.exists() and TARGET.read_text(encoding="utf-8") == made:
            return 0
        sys.stderr.write(f"{TARGET.name} is not up to date: python -m docs.generate_asyncapi\n")
        return 1
    if arguments:
        sys.stderr.write("usage: python -m docs.generate_asyncapi [--check]\n")
        return 2
    TARGET.write_text(made, encoding="utf-8")
    return 0


def _servers() -> dict[str, Any]:
    security = [{"$ref": "#/components/securitySchemes/userPassword"}]
    return {
        "tcp": {
            "host": "127.0.0.1:1883",
            "protocol": "mqtt",
            "protocolVersion": "5.0",
            "description": "MQTT over TCP; 3.1.1 as well.",
            "security": security,
        },
        "websocket": {
            "host": "127.0.0.1:8083",
            "pathname": "/mqtt",
            "protocol": "ws",
            "description": "The same over WebSocket, subprotocol `mqtt`.",
            "security": security,
        },
    }


def _channel(address: str, row: Row, messages: Iterable[str]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "address": address,
        "description": f"Published by: {row.publisher}. Subscribed to by: {row.subscriber}. QoS {row.qos}.",
        "messages": {name: {"$ref": f"#/components/messages/{name}"} for name in messages},
    }
    parameters = re.findall(r"\{([a-z]+)\}", address)
    if parameters:
        found["parameters"] = {name: {"$ref": f"#/components/parameters/{name}"} for name in parameters}
    return found


def _operations(channel: str, row: Row, messages: Iterable[str]) -> dict[str, Any]:
    """Pabal receives what a client publishes, and sends what somebody subscribes to."""
    ours = ("the bridge", "the broker")
    found = {}
    binding = {"qos": _qos(row), "retain": "retained" in row.publisher, "bindingVersion": "0.2.0"}
    for action, who in (("receive", row.publisher), ("send", row.subscriber)):
        if not who.startswith(ours):
            found[f"{action}{channel[0].upper()}{channel[1:]}"] = {
                "action": action,
                "channel": {"$ref": f"#/channels/{channel}"},
                "summary": f"{'From' if action == 'receive' else 'To'}: {who}",
                "messages": [{"$ref": f"#/channels/{channel}/messages/{name}"} for name in messages],
                "bindings": {"mqtt": binding},
            }
    return found


def _qos(row: Row) -> int:
    return max(level for level in map(int, re.findall(r"[012]", row.qos)) if level <= MAX_QOS)


def _messages() -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, (summary, _, structs) in ENVELOPES.items():
        examples = {key: msgspec.json.decode(encode(struct)) for key, struct in structs.items()}
        found[name] = _message(name, summary, "application/json", examples)
    for name, (summary, content_type, _, plain) in OTHERS.items():
        found[name] = _message(name, summary, content_type, plain)
    return found


def _message(name: str, summary: str, content_type: str, examples: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "name": name,
        "summary": summary,
        "contentType": content_type,
        "payload": {"$ref": f"#/components/schemas/{name}"},
        "examples": [{"name": key, "payload": payload} for key, payload in examples.items()],
    }


def _schemas() -> dict[str, Any]:
    structs = [struct for _, struct, _ in ENVELOPES.values()]
    _, found = msgspec.json.schema_components(structs, ref_template="#/components/schemas/{name}")
    schemas = {name: _draft7(schema) for name, schema in found.items()}
    for internal in INTERNAL:
        schemas["Event"]["properties"].pop(internal)
    _of_clients(schemas["Send"]["properties"])
    for struct in structs:
        _add_constants(schemas[struct.__name__], struct)
    schemas |= {name: schema for name, (_, _, schema, _) in OTHERS.items()}
    return dict(sorted(schemas.items()))


def _of_clients(properties: dict[str, Any]) -> None:
    """What clients may send, without what only our services do."""
    properties.pop("system")
    choice = properties["type"].pop("anyOf")
    properties["type"] = choice[0] | properties["type"]


def _add_constants(schema: dict[str, Any], struct: type[msgspec.Struct]) -> None:
    """Fields like `type: reject` are always written, and always so: receivers tell envelopes apart by them."""
    for field in msgspec.structs.fields(struct):
        if field.default_factory is not msgspec.NODEFAULT and field.default_factory is not list:
            schema["properties"][field.encode_name]["const"] = field.default_factory()
            schema["required"] = [*schema["required"], field.encode_name]


def _draft7(value: Any) -> Any:
    """JSON Schema 2020-12, as msgspec writes it, in the older words that AsyncAPI understands; docstrings without indentation."""
    if isinstance(value, list):
        return [_draft7(item) for item in value]
    if not isinstance(value, dict):
        return value
    found = {name: _draft7(inner) for name, inner in value.items()}
    if "prefixItems" in found:
        found["items"] = found.pop("prefixItems")
    if isinstance(found.get("description"), str):
        found["description"] = inspect.cleandoc(found["description"])
    return found


class _Dumper(yaml.SafeDumper):
    """Long texts as blocks, and no anchors: a reader wants to see what stands there."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's shape
        """Write everything out."""
        return True


def _represent(dumper: yaml.SafeDumper, data: str) -> yaml.ScalarNode:
    return dumper.represent_scalar("tag:yaml.org,2002:str", data, style="|" if "\n" in data else None)


_Dumper.add_representer(str, _represent)

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
