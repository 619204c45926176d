"""The baseline: a bridge as one would write it in an afternoon, with paho-mqtt and PyMongo. `python -m bench.path.naive PORT PASSWORD MONGO_URL`.

It subscribes to what is sent, inserts it with write concern majority, and publishes it to the members. What it does not do is what the
bridge of this project is for: the broker has acknowledged the message before it is stored, there is no order, no recognition
of repeats, no receipts, no retry.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from pymongo import MongoClient, WriteConcern

NAME = "svc-bridge"
DATABASE = "naive"
READY = "subscribed"


def document(topic: str, payload: bytes | bytearray) -> dict[str, Any]:
    """What is stored of a message on `chats/{chat}/send/{user}`."""
    _, chat, _, sender = topic.split("/")
    sent = json.loads(payload)
    return {"_id": sent["id"], "chat": chat, "sender": sender, "at": datetime.now(UTC), "body": sent["body"]}


def main(arguments: Sequence[str]) -> None:
    """Run until the process is ended."""
    port, password, mongo_url = arguments
    database: MongoClient[dict[str, Any]] = MongoClient(mongo_url)
    messages = database[DATABASE].get_collection("messages", write_concern=WriteConcern("majority"))
    client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=NAME)
    client.username_pw_set(NAME, password)

    def on_connect(*_: Any) -> None:
        client.subscribe("chats/+/send/+", qos=1)

    def on_subscribe(*_: Any) -> None:
        print(READY, flush=True)

    def on_message(_: mqtt.Client, __: Any, message: mqtt.MQTTMessage) -> None:
        stored = document(message.topic, message.payload)
        messages.insert_one(stored)
        event = json.dumps({**stored, "at": stored["at"].isoformat()}, ensure_ascii=False)
        client.publish(f"chats/{stored['chat']}/messages", event, qos=1)

    client.on_connect, client.on_subscribe, client.on_message = on_connect, on_subscribe, on_message
    client.connect("127.0.0.1", int(port))
    client.loop_forever()


if __name__ == "__main__":
    main(sys.argv[1:])
