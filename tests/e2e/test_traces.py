"""One trace from a phone's PUBLISH to FCM: a real stack, and a collector that takes what its processes export."""

from __future__ import annotations

import gzip
import json
import queue
import re
import secrets
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import httpx
import paho.mqtt.client as paho
import pytest
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span, Status
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from chat import topics
from chat.envelopes import Body, Send, encode
from chat.ids import new_message_id
from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.e2e.test_event_types import Person

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(600)]

PATIENCE = 90.0
PUSH_TOKEN = "fcm-token-of-byeol's-phone"
TEXT = "안녕하세요 🌤️ 비밀 이야기"


@dataclass
class Recorded:
    """A span and the process that it is of."""

    process: str
    span: Span

    @property
    def attributes(self) -> dict[str, Any]:
        values = {one.key: one.value for one in self.span.attributes}
        return {key: getattr(value, value.WhichOneof("value")) for key, value in values.items()}


@dataclass
class Collector:
    """An OTLP/HTTP receiver: decodes what is posted to /v1/traces."""

    spans: list[Recorded] = field(default_factory=list)
    raw: list[bytes] = field(default_factory=list)

    def take(self, path: str, body: bytes) -> None:
        assert path == "/v1/traces"
        self.raw.append(body)
        for resource in ExportTraceServiceRequest.FromString(body).resource_spans:
            named = {one.key: one.value.string_value for one in resource.resource.attributes}
            found = [Recorded(named["service.name"], span) for scope in resource.scope_spans for span in scope.spans]
            self.spans += found

    def trace(self, trace_id: str) -> dict[str, Recorded]:
        """The spans of one trace by name."""
        return {one.span.name: one for one in self.spans if one.span.trace_id.hex() == trace_id}

    def wait(self, trace_id: str, names: set[str]) -> dict[str, Recorded]:
        """The spans of a trace once all of these are there."""
        deadline = time.monotonic() + PATIENCE
        while not names <= set(found := self.trace(trace_id)):
            assert time.monotonic() < deadline, f"there are only {sorted(found)}"
            time.sleep(0.1)
        return found


@pytest.fixture(scope="module")
def collector() -> Iterator[tuple[Collector, str]]:
    made = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            made.take(self.path, gzip.decompress(body))
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the name of the base class
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, name="collector", daemon=True)
    thread.start()
    yield made, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join(PATIENCE)


@pytest.fixture(scope="module")
def traced(collector: tuple[Collector, str], module_stacks: Stacks) -> RunningStack:
    """A stack that records what is asked for, and nothing by itself; it ends before its collector."""
    env = {"PABAL_OTLP_ENDPOINT": collector[1], "PABAL_TRACE_RATIO": "0", "PABAL_LOG_FORMAT": "json"}
    return module_stacks(env=env)


class Phone:
    """An MQTT 5 client that is there and sees the properties of what it gets."""

    def __init__(self, stack: RunningStack, person: Person, chat: str) -> None:
        self.got: queue.Queue[paho.MQTTMessage] = queue.Queue()
        self._client = paho.Client(CallbackAPIVersion.VERSION2, f"{person.id}:phone", protocol=paho.MQTTv5)
        self._client.username_pw_set(person.id, person.api.token())
        self._client.on_message = lambda _client, _data, message: self.got.put(message)
        self._client.on_connect = lambda client, *_: client.subscribe(topics.messages(chat), qos=1)
        ready = threading.Event()
        self._client.on_subscribe = lambda *_: ready.set()
        self._client.connect(stack.info["mqtt_host"], stack.info["mqtt_port"])
        self._client.loop_start()
        assert ready.wait(PATIENCE)

    def send(self, topic: str, payload: bytes, **properties: str) -> None:
        block = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho's has no types
        block.UserProperty = list(properties.items())
        self._client.publish(topic, payload, qos=1, properties=block).wait_for_publish(PATIENCE)

    def close(self) -> None:
        self._client.disconnect()
        self._client.loop_stop()


def test_one_trace_from_publish_to_fcm(traced: RunningStack, collector: tuple[Collector, str]) -> None:
    ari, byeol = Person(traced, "ari"), Person(traced, "byeol")
    byeol.api.put_push_token(PUSH_TOKEN)
    byeol.client.close()
    chat = ari.api.create_chat("group", [byeol.id], title="파발").id
    phone, span_id, trace_id = Phone(traced, ari, chat), secrets.token_hex(8), secrets.token_hex(16)
    send = Send(id=new_message_id(), body=Body(text=TEXT))
    try:
        phone.send(
            topics.send(chat, ari.id),
            encode(send),
            traceparent=f"00-{trace_id}-{span_id}-01",
            tracestate="phone=1,other=2",
        )
        message = phone.got.get(timeout=PATIENCE)
        while json.loads(message.payload).get("id") != send.id:
            message = phone.got.get(timeout=PATIENCE)
        names = {"publish", "ingest", "screen", "store", "fan_out", "push", "fcm send"}
        spans = collector[0].wait(trace_id, names)
        rest_trace = secrets.token_hex(16)
        sent = httpx.post(
            f"{traced.info['api']}/v1/chats/{chat}/messages",
            json={"id": new_message_id(), "body": {"text": TEXT}},
            headers={
                "Authorization": f"Bearer {ari.api.token()}",
                "traceparent": f"00-{rest_trace}-{span_id}-01",
            },
            timeout=PATIENCE,
        )
        assert sent.status_code == 201
        over_rest = collector[0].wait(rest_trace, {"POST /v1/chats/{chat}/messages", "publish", "ingest"})
    finally:
        phone.close()
        ari.close()
        byeol.api.close()

    # Who did it, below whom.
    where = {name: one.process for name, one in spans.items()}
    below = {name: one.span.parent_span_id.hex() for name, one in spans.items()}
    own = {name: one.span.span_id.hex() for name, one in spans.items()}
    assert where == {
        "publish": "pabal-broker",
        "ingest": "pabal-bridge",
        "screen": "pabal-bridge",
        "store": "pabal-bridge",
        "fan_out": "pabal-bridge",
        "push": "pabal-worker",
        "fcm send": "pabal-worker",
    }
    assert below == {
        "publish": span_id,
        "ingest": own["publish"],
        "screen": own["ingest"],
        "store": own["ingest"],
        "fan_out": own["ingest"],
        "push": own["ingest"],
        "fcm send": own["push"],
    }
    rest_below = {name: one.span.parent_span_id.hex() for name, one in over_rest.items()}
    assert rest_below["POST /v1/chats/{chat}/messages"] == span_id
    assert rest_below["publish"] == over_rest["POST /v1/chats/{chat}/messages"].span.span_id.hex()

    # What they say.
    assert {one.span.trace_state for one in spans.values()} == {"phone=1,other=2"}
    assert all(one.span.status.code != Status.STATUS_CODE_ERROR for one in spans.values())
    assert all(one.span.end_time_unix_nano >= one.span.start_time_unix_nano for one in spans.values())
    stored, pushed = spans["store"].attributes, spans["fcm send"].attributes
    assert (stored["db.system.name"], stored["db.collection.name"]) == ("mongodb", "messages")
    assert (stored["db.operation.name"], stored["db.operation.batch.size"]) == ("insert", 1)
    assert pushed["http.response.status_code"] == 200
    assert (
        spans["ingest"].attributes["messaging.message.id"]
        == send.id
        == spans["push"].attributes["messaging.message.id"]
    )

    # A subscriber can go on, and history has the trace's id.
    properties = dict(message.properties.UserProperty)  # type: ignore[union-attr]  # paho's has no types
    assert properties == {"traceparent": f"00-{trace_id}-{own['fan_out']}-01"}
    assert json.loads(message.payload)["trace_id"] == trace_id

    # Nobody's words and nothing secret, in no span of any process; and what nobody asked for is not recorded.
    for body in collector[0].raw:
        for secret in (TEXT, "비밀", PUSH_TOKEN, ari.api.token()):
            assert secret.encode() not in body
    assert {one.span.trace_id.hex() for one in collector[0].spans} == {trace_id, rest_trace}

    for process, url in traced.info["metrics"].items():
        shown = httpx.get(url, timeout=PATIENCE).text
        assert 'pabal_trace_spans_total{outcome="failed"} 0.0' in shown, process
        assert 'pabal_trace_spans_total{outcome="dropped"} 0.0' in shown, process
        assert re.search(r'pabal_trace_spans_total\{outcome="exported"\} [1-9]', shown), process

    # The log of the worker names the trace.
    log = (traced.state.root / "log" / "worker.log").read_text(encoding="utf-8")
    (line,) = [line for line in log.splitlines() if '"push.sent"' in line and send.id in line]
    assert json.loads(line[line.index("{") :])["trace_id"] == trace_id
