"""Ids: their shapes, and what hostile ones could do to a topic."""

from __future__ import annotations

import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chat.errors import InvalidId
from chat.ids import (
    check_handle,
    check_message_id,
    direct_chat_id,
    is_chat_id,
    is_device,
    is_principal,
    is_service,
    made_at,
    made_between,
    message_id_from_ingest,
    new_chat_id,
    new_message_id,
    owns_client_id,
)

HOSTILE = [
    "",
    "+",
    "#",
    "a/b",
    "a+",
    "a#",
    "a b",
    "a\n",
    "\na",
    "a\0",
    "a:b",
    "$a",
    "안녕",
    "ａｂ",
    "a\u0661",
    "é",
    "..\\",
    "a" * 65,
    "a\u200b",
]


@pytest.mark.parametrize("text", HOSTILE)
def test_hostile_ids_are_no_ids(text: str) -> None:
    assert not is_principal(text)
    assert not is_chat_id(text)
    assert not owns_client_id("user1", f"user1:{text}")
    with pytest.raises(InvalidId):
        check_handle(text)
    with pytest.raises(InvalidId):
        check_message_id(text)


@given(text=st.text())
def test_no_id_can_be_more_than_one_level_of_a_topic(text: str) -> None:
    if is_principal(text) or is_chat_id(text):
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set("/+#: $")


@pytest.mark.parametrize("handle", ["ab", "user1", "0.0", "a_b-c.d", "a" * 32])
def test_handles(handle: str) -> None:
    assert check_handle(handle) == handle
    assert is_principal(handle)


@pytest.mark.parametrize("handle", ["a", "A1", "-a", ".a", "_a", "a" * 33, "dev-1", "svc-bridge", "svc-x"])
def test_what_nobody_may_choose(handle: str) -> None:
    with pytest.raises(InvalidId):
        check_handle(handle)


def test_prefixes_tell_the_kinds_apart() -> None:
    assert [(is_device(name), is_service(name)) for name in ("user1", "dev-1", "svc-1", "device", "mysvc-1")] == [
        (False, False),
        (True, False),
        (False, True),
        (False, False),
        (False, False),
    ]


@pytest.mark.parametrize("text", ["01890a5d-ac96-774b-bcce-b302099a8057", "01890A5D-AC96-774B-BCCE-B302099A8057"])
def test_a_message_id_is_canonical(text: str) -> None:
    assert check_message_id(text) == "01890a5d-ac96-774b-bcce-b302099a8057"


@pytest.mark.parametrize(
    "text",
    [
        "01890a5dac96774bbcceb302099a8057",
        "{01890a5d-ac96-774b-bcce-b302099a8057}",
        "urn:uuid:01890a5d-ac96-774b-bcce-b302099a8057",
        "01890a5d-ac96-774b-bcce-b302099a805",
        "01890a5d-ac96-774b-bcce-b302099a8057\n",
        "01890a5g-ac96-774b-bcce-b302099a8057",
        "0189٠a5d-ac96-774b-bcce-b302099a8057",
    ],
)
def test_other_spellings_are_no_message_ids(text: str) -> None:
    with pytest.raises(InvalidId):
        check_message_id(text)


@given(stamp=st.integers(0, (1 << 48) - 1))
def test_a_new_message_id_is_a_uuid_of_version_7_with_its_time_in_front(stamp: int) -> None:
    made = uuid.UUID(check_message_id(new_message_id(stamp)))
    assert (made.version, made.variant, made.int >> 80) == (7, uuid.RFC_4122, stamp)


def test_new_ids_differ_and_sort_by_time() -> None:
    assert len({new_message_id(1) for _ in range(1000)}) == 1000
    assert len({new_chat_id() for _ in range(1000)}) == 1000
    assert new_message_id(1) < new_message_id(2)
    assert is_chat_id(new_chat_id())


@given(one=st.text(), other=st.text())
def test_an_ingest_id_gives_one_message_id_and_another_gives_another(one: str, other: str) -> None:
    made = uuid.UUID(check_message_id(message_id_from_ingest(one)))
    assert (made.version, made.variant) == (8, uuid.RFC_4122)
    assert (message_id_from_ingest(one) == message_id_from_ingest(other)) is (one == other)


def test_the_message_id_of_an_ingest_id_never_changes() -> None:
    """A release that computed it otherwise would store a device's resend twice (P4)."""
    assert message_id_from_ingest("a.1") == "4a5f06ec-672e-8c23-a123-9ec81dd50afa"


def test_a_pair_has_one_direct_chat() -> None:
    assert direct_chat_id("a", "b") == direct_chat_id("b", "a")
    pairs = [("a", "b"), ("ab", "c"), ("a", "bc"), ("a", "a"), ("b", "b")]
    assert len({direct_chat_id(*pair) for pair in pairs}) == len(pairs)
    assert all(is_chat_id(direct_chat_id(*pair)) for pair in pairs)


@pytest.mark.parametrize(
    ("client_id", "owned"),
    [
        ("user1", True),
        ("user1:a", True),
        ("user1:A.b_c-1", True),
        ("user1:" + "a" * 64, True),
        ("user1:" + "a" * 65, False),
        ("user1:", False),
        ("user1:a:b", False),
        ("user1:a/b", False),
        ("user1:안녕", False),
        ("user1x", False),
        ("user11:a", False),
        ("user2", False),
        ("", False),
        (":a", False),
        ("User1", False),
        (" user1", False),
    ],
)
def test_whose_a_client_id_is(client_id: str, owned: bool) -> None:
    assert owns_client_id("user1", client_id) is owned


def test_a_version_7_id_tells_when_it_was_made_and_no_other_does() -> None:
    made = 1_763_000_000_123
    id_ = new_message_id(made)
    assert id_.startswith(made_at(made))
    assert made_at(made - 0.5) == made_at(made) < made_at(made + 0.5)
    assert [made_at(-1.0), made_at(1e300)] == ["00000000-0000", "ffffffff-ffff"]
    assert made_between(id_, made_at(made), made_at(made))
    assert not made_between(id_, made_at(made + 1), made_at(made + 2))
    assert not made_between(id_, made_at(made - 2), made_at(made - 1))
    for other in (str(uuid.uuid4()), message_id_from_ingest("broker1.1")):
        assert not made_between(other, made_at(0), made_at(1e300))
