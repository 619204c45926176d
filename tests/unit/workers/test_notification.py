from __future__ import annotations

import unicodedata
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wcwidth import iter_graphemes

from chat.envelopes import Attachment, Body, Event
from chat.models import PushToken
from chat.push_preferences import Shows
from workers.push.notification import APP, MAX_TEXT, Words, compose, cut, preview, withdrawal

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


AT = datetime(2026, 1, 1, tzinfo=UTC)
EVENT = Event(type="message", id="m", chat="g-1", seq=7, n=5, sender="user1", at=AT, body=Body(text=GREETING))
SECRET = Event(type="message", id="m", chat="g-1", seq=7, n=5, sender="user1", at=AT, body=Body(cipher="7ZmU7J20"))
GROUP, PAIR = Words("가족", "김철수"), Words(None, "김철수")
DATA = {"chat": "g-1", "seq": "7", "id": "m", "badge": "3"}


def test_a_push() -> None:
    token = PushToken(token="t", user="user2", platform="ios", updated_at=AT)
    push = compose(EVENT, token, Words("모" * 300, "x"), Shows.TEXT, badge=3)
    assert push.token is token
    assert push.title == "모" * 99 + "…"
    assert push.text == GREETING
    assert push.data == DATA
    assert (push.collapse_key, push.badge, push.data_only) == ("g-1", 3, False)
    assert MAX_TEXT == 200


@pytest.mark.parametrize(
    ("event", "words", "shows", "title", "text"),
    [
        (EVENT, GROUP, Shows.TEXT, "가족", GREETING),
        (EVENT, PAIR, Shows.TEXT, "김철수", GREETING),
        (EVENT, GROUP, Shows.SENDER, "김철수", None),
        (EVENT, PAIR, Shows.SENDER, "김철수", None),
        (EVENT, GROUP, Shows.NOTHING, APP, None),
        (SECRET, GROUP, Shows.TEXT, "가족", None),
        (SECRET, PAIR, Shows.SENDER, "김철수", None),
    ],
)
def test_a_screen_shows_what_its_user_allows(
    event: Event, words: Words, shows: Shows, title: str, text: str | None
) -> None:
    push = compose(event, PushToken("t", "user2", "android", AT), words, shows, badge=3)
    assert (push.title, push.text) == (title, text)
    # The same for an app that makes its notifications itself: it is told no more than it may show.
    data_only = compose(event, PushToken("t", "user2", "android", AT, data_only=True), words, shows, badge=3)
    assert data_only.data_only
    assert data_only.data == DATA | {"title": title} | ({"text": text} if text else {})
    assert "7ZmU7J20" not in repr(data_only)


def test_a_withdrawal_collapses_with_what_it_takes_back_and_shows_nothing() -> None:
    push = withdrawal("g-1", 9, PushToken("t", "user2", "android", AT), badge=2)
    assert push.data == {"type": "withdraw", "chat": "g-1", "seq": "9", "badge": "2"}
    assert (push.collapse_key, push.data_only, push.title, push.text) == ("g-1", True, "", None)
