"""The codec under random bytes and mutated packets; `make fuzz` goes on for longer."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.fuzz.targets import WIRES, codec

CORPUS = sorted((Path(__file__).parents[2] / "fuzz" / "corpus" / "codec").iterdir())


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A few packets, with some of their bytes changed, taken out or put in."""
    stream = bytearray(b"".join(draw(st.lists(st.sampled_from(WIRES), min_size=1, max_size=4))))
    for _ in range(draw(st.integers(0, 4))):
        at = draw(st.integers(0, len(stream)))
        stream[at : at + draw(st.integers(0, 3))] = draw(st.binary(max_size=3))
    return bytes(stream)


@given(st.binary(min_size=2, max_size=300))
def test_random_bytes(data: bytes) -> None:
    codec(data)


@given(st.integers(0, 2), st.integers(0, 15), mutated())
def test_mutated_packets(version: int, piece: int, stream: bytes) -> None:
    codec(bytes([version, piece]) + stream)


@pytest.mark.parametrize("file", CORPUS, ids=lambda file: file.name)
def test_corpus(file: Path) -> None:
    codec(file.read_bytes())


def test_there_is_a_corpus() -> None:
    assert len(CORPUS) >= 3
