"""What strangers say of traces is read strictly, and decides little."""

from __future__ import annotations

import re

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from chat.tracing import MAX_STATE, OFFERED_PER_SECOND, Sampler, TraceContext, read, read_from

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


@pytest.mark.parametrize(
    ("text", "sampled"),
    [
        (PARENT, True),
        (PARENT[:-2] + "00", False),
        (PARENT[:-2] + "03", True),  # flags that are not known yet are left out
        (PARENT[:-2] + "fe", False),
        ("01" + PARENT[2:], True),
        ("cc" + PARENT[2:] + "-what-comes-later", True),
    ],
)
def test_what_is_well_formed_is_taken(text: str, sampled: bool) -> None:
    found = read(text)
    assert found == TraceContext(TRACE, SPAN, sampled)
    assert found.traceparent == f"00-{TRACE}-{SPAN}-0{sampled:d}"
    assert read(found.traceparent) == found


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        PARENT + "-more",
        PARENT + "x",
        PARENT + "\n",
        " " + PARENT,
        PARENT.upper(),
        "ff" + PARENT[2:],
        "0" + PARENT,
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[:-1]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"00-{TRACE}-{SPAN}",
        PARENT.replace("0af", "0ag"),
        PARENT.replace("1", "١"),  # a digit, for those who ask Unicode
        "안녕하세요",
        "0" * 100_000,
    ],
)
def test_what_is_not_is_left(text: str | None) -> None:
    assert read(text) is None


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        ("a=1", "a=1"),
        (" a=1 ,\tb=2,", "a=1,b=2"),
        ("tenant@vendor=x y!", "tenant@vendor=x y!"),
        ("a=" + "v" * 256, "a=" + "v" * 256),
        ("a=1,a=2", ""),  # a key stands once
        ("A=1", ""),
        ("a=", ""),
        ("a", ""),
        ("a=1=2", ""),
        ("a=안녕", ""),
        ("a=" + "v" * 257, ""),
        ("a=\x01", ""),
        (",".join(f"k{number}=v" for number in range(33)), ""),
        (",".join(f"k{number}={'v' * 60}" for number in range(9)), ""),
        ("", ""),
        (None, ""),
    ],
)
def test_a_state_travels_whole_or_not_at_all(text: str | None, kept: str) -> None:
    found = read(PARENT, text)
    assert found is not None
    assert found.state == kept
    assert found.headers == {"traceparent": PARENT} | ({"tracestate": kept} if kept else {})
    assert read_from(found.headers) == found


@given(st.text(max_size=80), st.text(max_size=600))
@example(PARENT + "\u2028", "a=1")
def test_nothing_that_is_said_breaks_it(parent: str, state: str) -> None:
    for found in (read(parent, state), read(PARENT, state)):
        if found is not None:
            assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-0[01]", found.traceparent)
            assert len(found.state) <= MAX_STATE
            assert found.state.isascii()


def test_nobody_says_anything() -> None:
    assert read_from({}) is None
    assert read_from({"tracestate": "a=1"}) is None


@pytest.mark.parametrize(
    ("ratio", "chance", "takes"), [(0, 0.0, False), (0.01, 0.0099, True), (0.01, 0.01, False), (1, 0.9999, True)]
)
def test_a_share_of_new_traces_is_recorded(ratio: float, chance: float, takes: bool) -> None:
    assert Sampler(ratio, clock=lambda: 0.0, chance=lambda: chance).takes(None) is takes


def test_strangers_decide_about_their_own_traces_within_a_bound() -> None:
    now = 7.0
    sampler = Sampler(0.0, clock=lambda: now, chance=lambda: 0.0)
    recorded, not_recorded = TraceContext(TRACE, SPAN, sampled=True), TraceContext(TRACE, SPAN, sampled=False)
    assert not sampler.takes(not_recorded)
    assert [sampler.takes(recorded) for _ in range(OFFERED_PER_SECOND + 5)] == [True] * OFFERED_PER_SECOND + [False] * 5
    now = 8.0
    assert sampler.takes(recorded)
    assert not Sampler(1.0, clock=lambda: now).takes(
        not_recorded
    )  # what its owner does not record is no new trace of ours
