"""Events through BSON and back, for any JSON that a client may send."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import bson
from bson.codec_options import CodecOptions
from hypothesis import given
from hypothesis import strategies as st

from adapters.mongo.event_documents import to_document, to_event
from chat import envelopes
from chat.envelopes import Body, Event
from chat.ids import new_message_id

OPTIONS: CodecOptions[dict[str, Any]] = CodecOptions(tz_aware=True, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXT
KEYS = TEXT | st.sampled_from(["", "$where", "$ref", "$id", "a.b", "_id", "k\x00", "__proto__"])
JSON = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=20)


def through_bson(event: Event) -> Event:
    return to_event(bson.decode(bson.encode(to_document(event, push=True)), OPTIONS))


def event(body: Body) -> Event:
    at = datetime(2026, 5, 1, tzinfo=UTC)
    return Event(type="message", id=new_message_id(), chat="g-1", seq=1, n=1, sender="user1", at=at, body=body)


@given(JSON)
def test_any_data_comes_back_unchanged_and_can_be_sent_on(data: Any) -> None:
    sent = event(Body(data=data))
    back = through_bson(sent)
    assert back == sent
    assert envelopes.encode(back) == envelopes.encode(sent)


@given(TEXT)
def test_any_text_comes_back_code_point_by_code_point(text: str) -> None:
    sent = event(Body(text=text))
    assert through_bson(sent) == sent
