"""A whole broker under random conversations; `make fuzz` goes on for longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mqtt.codec import V5, V311, encode
from mqtt.packets import Disconnect, Filter, PingReq, PubAck, PubComp, Publish, PubRec, PubRel, Subscribe, Unsubscribe
from tests.fuzz.targets import CLIENTS, WIRES, converse, script_of

CORPUS = sorted((Path(__file__).parents[2] / "fuzz" / "corpus" / "broker").iterdir())
TOPICS = st.sampled_from(["a", "a/b", "witness/of/other", "안녕", "$SYS/broker/uptime"])
FILTERS = st.sampled_from(["a", "a/+", "#", "+/b", "$share/g/a", "$share/g/#", "$SYS/#", "안녕", "a/#/b", "$share/g"])
IDS = st.integers(1, 6)

packets = st.one_of(
    st.builds(
        Publish,
        TOPICS,
        st.binary(max_size=20),
        st.just(0),
        st.booleans(),
    ),
    st.builds(Publish, TOPICS, st.binary(max_size=20), st.integers(1, 2), st.booleans(), st.booleans(), IDS),
    st.builds(Subscribe, IDS, st.lists(st.builds(Filter, FILTERS, st.integers(0, 2)), min_size=1, max_size=3)),
    st.builds(Unsubscribe, IDS, st.lists(FILTERS, min_size=1, max_size=3)),
    *(st.builds(kind, IDS) for kind in (PubAck, PubRec, PubRel, PubComp)),
    st.just(PingReq()),
    st.builds(Disconnect, st.sampled_from([0, 4])),
)


@st.composite
def said(draw: st.DrawFn) -> tuple[int, bytes]:
    """Something that one of the clients says: mostly what makes sense."""
    who = draw(st.integers(0, CLIENTS - 1))
    match draw(st.integers(0, 9)):
        case 0:
            return who, draw(st.binary(max_size=30))
        case 1:
            return who, draw(st.sampled_from(WIRES))
        case _:
            return who, encode(draw(packets), (V5, V311)[who % 2])


@settings(max_examples=150, deadline=None)
@given(st.lists(said(), max_size=25))
def test_random_conversations(script: list[tuple[int, bytes]]) -> None:
    converse(script)


@settings(max_examples=100, deadline=None)
@given(st.binary(max_size=400))
def test_random_bytes(data: bytes) -> None:
    converse(script_of(data))


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_corpus(file: Path) -> None:
    converse(script_of(file.read_bytes()))


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) >= 3
