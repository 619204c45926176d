"""Envelopes: what is read, what is refused and why, and that text is kept byte for byte."""

from __future__ import annotations

import base64
import json
import unicodedata
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat import envelopes
from chat.envelopes import MAX_SEND_BYTES, Body, Event, decode, encode, read_ack, read_send, read_sync, wrap_plain
from chat.errors import InvalidEnvelope, InvalidId, TooLarge

ID = "01890a5d-ac96-774b-bcce-b302099a8057"
OTHER = "01890a5d-ac96-774b-bcce-b302099a8058"
KOREAN = "안녕하세요"
TEXTS = [
    KOREAN,
    unicodedata.normalize("NFD", KOREAN),
    "👍",
    "👩‍👩‍👧‍👦🏳️‍🌈",
    "𝕳 𐐷",
    "nul \0 inside",
    "\ufeffbom",
    "a\u0301 \u00e1",
    "\u202e right to left",
    "line\r\n\ttab",
    "",
    " ",
    "\ufffd",
]


def send(**fields: Any) -> bytes:
    """The JSON of a message, with fields replaced."""
    return json.dumps({"id": ID, "type": "message", "body": {"text": "x"}} | fields, ensure_ascii=False).encode()


def body_of(wire: bytes) -> dict[str, Any]:
    """The fields of the body that are there."""
    body = read_send(wire).body
    assert body is not None
    return {name: value for name, value in msgspec.structs.asdict(body).items() if value is not None}


# ---- text


@pytest.mark.parametrize("text", TEXTS)
def test_text_is_kept_byte_for_byte(text: str) -> None:
    read = read_send(send(body={"text": text}))
    assert read.body is not None
    assert read.body.text is not None
    assert read.body.text.encode() == text.encode()
    event = Event("message", ID, "g-1", 1, 1, "user1", datetime(2026, 5, 4, tzinfo=UTC), body=read.body)
    again = decode(encode(event), Event)
    assert again.body is not None
    assert again.body.text is not None
    assert again.body.text.encode() == text.encode()


def test_composed_and_decomposed_stay_two() -> None:
    composed, decomposed = KOREAN, unicodedata.normalize("NFD", KOREAN)
    assert read_send(send(body={"text": composed})).body != read_send(send(body={"text": decomposed})).body


@given(text=st.text())
def test_any_text_survives(text: str) -> None:
    try:
        wire = send(body={"text": text})
    except UnicodeEncodeError:
        return  # lone surrogates are no text
    assert body_of(wire) == {"text": text}


def test_escapes_are_text_like_any_other() -> None:
    wire = b'{"id":"%s","body":{"text":"\\uc548\\ub155 \\ud83d\\udc4d"}}' % ID.encode()
    assert body_of(wire) == {"text": "안녕 👍"}


@pytest.mark.parametrize("raw", [b'{"id":"\xff"}', b'"\xc3\x28"', b'{"id":"\\ud800"}', b'{"id":"\xed\xa0\x80"}'])
def test_what_is_no_text_is_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEnvelope):
        read_send(raw)


# ---- shapes


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b" ",
        b"{",
        b"nonsense",
        b"{'id': 1}",
        b'{"id": NaN}',
        b'{"id":"x"} {}',
        b"\x00",
        b"21.5C",
        b'\xef\xbb\xbf{"id":"x"}',
        b"[" * 50_000,
        b'{"body":' * 7_000,
    ],
)
def test_what_is_not_json(raw: bytes) -> None:
    with pytest.raises(InvalidEnvelope) as refused:
        read_send(raw)
    assert refused.value.code in ("not_json", "invalid_envelope")
    if not raw.startswith((b"[", b'{"body"', b"21.5", b'{"id":"x"')):
        assert refused.value.code == "not_json"


@pytest.mark.parametrize(
    "raw",
    [
        b"null",
        b"1",
        b"[]",
        b'"text"',
        b"{}",
        b'{"body":{"text":"x"}}',
        send(extra=1),
        send(body={"text": "x", "extra": 1}),
        send(body={"attachment": {"url": "u", "content_type": "c", "extra": 1}}),
        send(seq=1),
        send(sender="user2"),
        send(at="2026-05-04T00:00:00Z"),
        send(type="void"),
        send(type="system"),
        send(type="Message"),
        send(type=None),
        send(body={"text": 1}),
        send(body={"text": ["x"]}),
        send(body="x"),
        send(body=None),
        send(body={}),
        send(body={"text": "x", "data": 1}),
        send(body={"emoji": "👍"}),
        send(body={"content_type": "text/plain"}),
        send(body={"attachment": {"url": "u"}}),
        send(body={"attachment": {"url": "u", "content_type": "c", "size": "1"}}),
        send(body={"data": 1, "encoding": "base64"}),
        send(body={"data": "x", "encoding": "gzip"}),
        send(mentions="user2"),
        send(mentions=[1]),
        send(mentions=["u"] * 101),
        send(expires_in="60"),
        send(expires_in=0),
        send(expires_in=-1),
        send(expires_in=1.5),
        send(expires_in=True),
        send(expires_in=366 * 86_400),
        send(expires_in=10**30),
        send(target=OTHER),
        send(type="edit"),
        send(type="edit", target=OTHER, body={"emoji": "x"}),
        send(type="edit", target=OTHER, body=None),
        send(type="delete"),
        send(type="delete", target=OTHER),
        send(type="reaction", target=OTHER),
        send(type="reaction", body={"emoji": "x"}),
        send(type="unreact", body={"emoji": "x"}),
        send(type="unreact", target=OTHER),
        send(type="unreact", target=OTHER, body={"text": "x"}),
        send(type="reaction", target=OTHER, body={"emoji": "x", "text": "y"}),
    ],
)
def test_shapes_that_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEnvelope) as refused:
        read_send(raw)
    assert refused.value.code == "invalid_envelope"
    assert refused.value.reason


@pytest.mark.parametrize("field", ["id", "target", "reply_to"])
@pytest.mark.parametrize("value", ["", "x", ID + "0", f" {ID}", "안녕"])
def test_ids_in_an_envelope_are_checked(field: str, value: str) -> None:
    fields = {"type": "delete", "body": None, "target": OTHER} if field == "target" else {}
    with pytest.raises(InvalidId):
        read_send(send(**(fields | {field: value})))


def test_a_number_is_no_id() -> None:
    with pytest.raises(InvalidEnvelope):
        read_send(send(id=1))


@pytest.mark.parametrize(
    ("fields", "kind"),
    [
        ({}, "message"),
        (
            {"body": {"attachment": {"url": "https://x", "content_type": "image/png", "size": 3, "name": KOREAN}}},
            "message",
        ),
        ({"body": {"data": {"t": [21.5, None, True]}, "content_type": "application/json"}}, "message"),
        ({"body": {"data": "AA==", "encoding": "base64"}}, "message"),
        ({"body": {"cipher": "opaque"}}, "message"),
        ({"reply_to": OTHER, "mentions": ["user2"] * 100, "expires_in": 365 * 86_400}, "message"),
        ({"type": "edit", "target": OTHER}, "edit"),
        ({"type": "delete", "target": OTHER, "body": None}, "delete"),
        ({"type": "reaction", "target": OTHER, "body": {"emoji": "👍🏽"}}, "reaction"),
        ({"type": "unreact", "target": OTHER, "body": {"emoji": "👍🏽"}}, "unreact"),
    ],
)
def test_shapes_that_are_taken(fields: dict[str, Any], kind: str) -> None:
    assert read_send(send(**fields)).type == kind


def test_ids_are_made_canonical() -> None:
    read = read_send(send(id=ID.upper(), type="edit", target=OTHER.upper(), reply_to=OTHER.upper()))
    assert (read.id, read.target, read.reply_to) == (ID, OTHER, OTHER)


def test_of_a_key_that_stands_twice_the_last_counts_and_is_checked_like_any_other() -> None:
    wire = b'{"id":"%s","body":{"text":"one"},"body":{"text":"two"}}' % ID.encode()
    assert body_of(wire) == {"text": "two"}
    with pytest.raises(InvalidEnvelope):
        read_send(b'{"id":"%s","body":{"text":"one"},"body":1}' % ID.encode())


def test_deep_data_is_read_or_refused_and_never_fatal() -> None:
    deep = b'{"id":"%s","body":{"data":%s1%s}}'
    assert read_send(deep % (ID.encode(), b"[" * 50, b"]" * 50)).body is not None
    with pytest.raises(InvalidEnvelope):
        read_send(deep % (ID.encode(), b"[" * 20_000, b"]" * 20_000))


def test_one_byte_too_large() -> None:
    room = MAX_SEND_BYTES - len(send(body={"text": ""}))
    assert read_send(send(body={"text": "x" * room}))
    with pytest.raises(TooLarge):
        read_send(send(body={"text": "x" * (room + 1)}))
    with pytest.raises(TooLarge):
        read_send(send(), max_bytes=len(send()) - 1)
    assert read_send(send(), max_bytes=len(send()))


@given(raw=st.binary(max_size=200))
def test_noise_is_refused_and_nothing_else(raw: bytes) -> None:
    for read in (read_send, read_ack, read_sync):
        with pytest.raises((InvalidEnvelope, InvalidId)):
            read(raw)


def test_a_refusal_never_quotes_the_text() -> None:
    for raw in (
        send(body={"text": ["SECRET"]}),
        send(body={"text": "SECRET", "data": "SECRET"}),
        send()[:-1] + b"SECRET",
    ):
        with pytest.raises(InvalidEnvelope) as refused:
            read_send(raw)
        assert "SECRET" not in refused.value.reason


# ---- acks and sync


def test_acks() -> None:
    assert read_ack(b'{"delivered":5}') == envelopes.Ack(delivered=5)
    assert read_ack(b'{"seen":0,"delivered":3}') == envelopes.Ack(delivered=3, seen=0)


@pytest.mark.parametrize(
    "raw",
    [
        b"{}",
        b'{"seen":-1}',
        b'{"delivered":-1,"seen":5}',
        b'{"seen":"5"}',
        b'{"seen":5.5}',
        b'{"seq":5}',
        b"5",
        b"null",
    ],
)
def test_acks_that_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidEnvelope):
        read_ack(raw)


def test_sync_requests() -> None:
    read = read_sync(b'{"cursors":{"g-1":0,"g-2":7},"req":"r","limit":500}')
    assert read == envelopes.SyncRequest({"g-1": 0, "g-2": 7}, "r", 500)
    assert read_sync(b'{"cursors":{}}').limit == 100


@pytest.mark.parametrize(
    "request_",
    [
        {},
        {"cursors": []},
        {"cursors": {"g-1": -1}},
        {"cursors": {"g-1": "1"}},
        {"cursors": {"g-1": None}},
        {"cursors": {}, "limit": 0},
        {"cursors": {}, "limit": 501},
        {"cursors": {}, "extra": 1},
        {"cursors": {f"g-{n}": 0 for n in range(1001)}},
    ],
)
def test_sync_requests_that_are_refused(request_: dict[str, object]) -> None:
    with pytest.raises(InvalidEnvelope):
        read_sync(json.dumps(request_).encode())


# ---- plain payloads


@pytest.mark.parametrize("text", TEXTS)
def test_plain_text_is_kept_as_text(text: str) -> None:
    made = wrap_plain(text.encode(), ingest_id="a.1", content_type=None)
    assert made.body == Body(data=text, content_type="text/plain")
    assert made.type == "message"


def test_plain_bytes_travel_as_base64() -> None:
    raw = bytes(range(256))
    made = wrap_plain(raw, ingest_id="a.1", content_type="image/png")
    assert made.body is not None
    assert (made.body.encoding, made.body.content_type) == ("base64", "image/png")
    assert base64.b64decode(made.body.data) == raw
    other = wrap_plain(b"\xff", ingest_id="a.2", content_type=None)
    assert other.body is not None
    assert other.body.content_type == "application/octet-stream"


def test_a_plain_payload_has_the_id_of_its_ingest_id() -> None:
    one, same, other = (wrap_plain(b"x", ingest_id=name, content_type=None).id for name in ("a.1", "a.1", "a.2"))
    assert one == same != other


def test_a_plain_payload_one_byte_too_large() -> None:
    assert wrap_plain(b"x" * 10, ingest_id="a", content_type=None, max_bytes=10)
    with pytest.raises(TooLarge):
        wrap_plain(b"x" * 11, ingest_id="a", content_type=None, max_bytes=10)


# ---- down


def test_what_comes_down_names_its_type_and_version_always() -> None:
    at = datetime(2026, 5, 4, tzinfo=UTC)
    made = [
        envelopes.ReceiptUpdate("g-1", at),
        envelopes.Reject("code", "reason"),
        envelopes.SyncPage("g-1", [], 0, False, 0),
        envelopes.Reset("g-1", "ahead"),
        envelopes.SyncDone(),
        envelopes.Invitation("g-1", "group", "user1"),
    ]
    assert [json.loads(encode(each))["type"] for each in made] == [
        "receipts",
        "reject",
        "sync",
        "reset",
        "sync_done",
        "invitation",
    ]
    event = json.loads(encode(Event("message", ID, "g-1", 1, 1, "user1", at)))
    assert event == {
        "v": 1,
        "type": "message",
        "id": ID,
        "chat": "g-1",
        "seq": 1,
        "n": 1,
        "sender": "user1",
        "at": "2026-05-04T00:00:00Z",
    }


def test_an_old_reader_survives_a_new_server() -> None:
    assert decode(b'{"chat":"g-1","reason":"ahead","type":"reset","new_field":1}', envelopes.Reset).chat == "g-1"
    with pytest.raises(InvalidEnvelope):
        decode(b'{"reason":"ahead"}', envelopes.Reset)
    with pytest.raises(InvalidEnvelope):
        decode(b'{"kind":"other"}', envelopes.Invalidation)


def test_delivered_marks_are_rows() -> None:
    made = envelopes.Delivered([envelopes.DeliveredMark("g-1", "user1", 5)])
    assert encode(made) == b'{"marks":[["g-1","user1",5]]}'
    assert msgspec.json.decode(encode(made), type=envelopes.Delivered) == made
