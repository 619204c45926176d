from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import iter_graphemes

from chat.envelopes import Attachment, Body, Event
from chat.models import PushToken
from workers.push.notification import MAX_TEXT, compose, cut, preview

GREETING = "안녕하세요"
FAMILY = "👨‍👩‍👧‍👦"
THUMB = "👍🏽"
FLAG = "🇰🇷"


@pytest.mark.parametrize("text", ["", "a", GREETING, "가" * 200, FAMILY, "a" * 200])
def test_what_fits_stays_as_it_is(text: str) -> None:
    assert cut(text, 200) == text


def test_composed_hangul_is_cut_between_syllables() -> None:
    text = "가나다라마바사" * 100
    assert cut(text, 200) == text[:199] + "…"


def test_decomposed_hangul_is_cut_between_syllables_and_stays_decomposed() -> None:
    syllables = "각난닫" * 100
    text = unicodedata.normalize("NFD", syllables)
    assert len(text) == 900
    result = cut(text, 200)
    assert len(result) <= 200
    kept = result.removesuffix("…")
    assert text.startswith(kept)
    # Whole syllables only: three letters each, and the composed form is a prefix of the composed text.
    assert len(kept) == 198
    assert syllables.startswith(unicodedata.normalize("NFC", kept))


@pytest.mark.parametrize("cluster", [FAMILY, THUMB, FLAG, "e\u0301", "क्ष", unicodedata.normalize("NFD", "한")])
def test_a_cluster_goes_whole_or_stays_whole(cluster: str) -> None:
    for before in range(190, 201):
        result = cut("x" * before + cluster * 50, 200)
        assert len(result) <= 200
        rest = result.removesuffix("…")[before:]
        assert rest == cluster * (len(rest) // len(cluster))


def test_a_cluster_longer_than_the_limit_leaves_the_ellipsis() -> None:
    assert cut("a" + "\u0301" * 500, 200) == "…"


def test_no_space_before_the_ellipsis() -> None:
    assert cut("x" * 198 + " yz", 200) == "x" * 198 + "…"


@given(
    st.text(
        alphabet=st.one_of(st.sampled_from("a 가각e\u0301\u200d👩👍🏽🇰🇷\u1100\u1161\u11a8\ufe0f"), st.characters()),
        max_size=80,
    )
)
def test_cutting_any_text(text: str) -> None:
    result = cut(text, 20)
    assert len(result) <= 20
    if len(text) <= 20:
        assert result == text
        return
    kept = result.removesuffix("…")
    assert text.startswith(kept)
    ends = {0}
    length = 0
    for cluster in iter_graphemes(text):
        length += len(cluster)
        ends.add(length)
    # What was kept ends where a cluster ends, but for spaces that went away.
    rest = text[len(kept) :]
    spaces = len(rest) - len(rest.lstrip())
    assert any(len(kept) + extra in ends for extra in range(spaces + 1))


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (None, None),
        (Body(text=GREETING), GREETING),
        (Body(text="b" * 300), "b" * 199 + "…"),
        (Body(cipher="c2VjcmV0"), None),
        (Body(text="leaked", cipher="c2VjcmV0"), None),
        (Body(attachment=Attachment(url="https://x.example/1", content_type="image/png")), None),
        (Body(attachment=Attachment(url="https://x.example/1", content_type="image/png", name="사진.png")), "사진.png"),
        (Body(data="23.5", content_type="text/plain"), "23.5"),
        (Body(data="AAEC", content_type="application/octet-stream", encoding="base64"), None),
        (Body(data={"t": 23.5}, content_type="application/json"), None),
        (Body(data="x"), None),
    ],
)
def test_what_a_lock_screen_may_show(body: Body | None, expected: str | None) -> None:
    assert preview(body) == expected


def test_a_push() -> None:
    at = datetime(2026, 1, 1, tzinfo=UTC)
    event = Event(type="message", id="m", chat="g-1", seq=7, n=5, sender="user1", at=at, body=Body(text=GREETING))
    token = PushToken(token="t", user="user2", platform="ios", updated_at=at)
    push = compose(event, token, title="모" * 300)
    assert push.token is token
    assert push.title == "모" * 99 + "…"
    assert push.text == GREETING
    assert push.data == {"chat": "g-1", "seq": "7", "id": "m"}
    assert push.collapse_key == "g-1"
    assert MAX_TEXT == 200
