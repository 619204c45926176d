"""Blocked words: every spelling that people use is caught, and ordinary texts pass."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.filters.lists import ListBroken
from bridge.filters.words import WordList, _inside, _Text, words

LIST = words(
    [
        "# 욕설",
        "시발",
        "씨발  # with a comment",
        "시발놈",
        "병신",
        "개새끼",
        "값싼년",
        "ㅅㅂ",
        "ㅄ",
        "ㅈㄹ",
        "fuck",
        "*shit*",
        "死ね",
        "сука",
        "!시발점",
        "!시발역",
        "!병신년",
        "!시 발표",
    ]
)


@pytest.mark.parametrize(
    "text",
    [
        "시발",
        "야 시발아 뭐해",
        "개시발",
        "시.발",
        "시-발",
        "시 발",
        "시  발 뭐야",
        "시\u200b발",  # zero-width space
        "시\u00ad발",  # soft hyphen
        "시\ufe0f발",
        "시😀발",
        "시*발놈아",
        "ㅅㅣㅂㅏㄹ",
        "시ㅂㅏㄹ",
        "ㅅㅣ발 뭐",
        "ㅅ.ㅣ.ㅂ.ㅏ.ㄹ",
        unicodedata.normalize("NFD", "시발"),
        "\uffb5\uffdc\uffb2\uffc2\uffa9",  # halfwidth jamo
        "값싼년",
        "ㄱㅏㅂㅅ싼년",
        "ㅅㅂ",
        "아ㅅㅂ진짜",
        "ㅅ ㅂ",
        "ㅅ.ㅂ",
        "ㅅ\u2063ㅂ",
        "\uffb5\uffb2",  # halfwidth ㅅㅂ
        "ㅄ아",
        "지금 ㅈㄹ하네",
        "FUCK",
        "ｆｕｃｋ",
        "𝐟𝐮𝐜𝐤",
        "ⓕⓤⓒⓚ",
        "f u c k",
        "f.u.c.k",
        "fück",
        "what the fuck?",
        "아fuck진짜",
        "bullshitter",
        "死ね",
        "死.ね",
        "СУКА",
        "시발 시발점",
        "시발점 시발",
    ],
)
def test_every_spelling_is_caught(text: str) -> None:
    assert LIST.find(text)
    assert LIST.find(f"안녕하세요, {text}")
    assert LIST.find(f"{text} 그래요")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "안녕하세요",
        "시발점은 어디예요?",
        "시발역 2번 출구",
        "이 노선의 시발점과 종점",
        "다시 발표할게요",
        "혹시 발견하시면 알려 주세요",
        "12시 발 열차",
        "필요하시.발표는",
        "시 발표회에 오세요",
        "몇 시 발표예요?",
        "맛보다",
        "밥상",
        "했습니다",
        "옷 빌려줘",
        "다시바라보다",
        "시바견",
        "ㅋㅋㅋㅋ ㅎㅎ ㅠㅠ ㅇㅇ",
        "ㅅ바닥",
        "병신년(丙申年)",
        "fucking",  # no `*` behind it
        "push it",
        "class hit",
        "死",
        "고열 ね",
        "a" * 5_000,
        "다시 발표 " * 500,
    ],
)
def test_ordinary_texts_pass(text: str) -> None:
    assert not LIST.find(text)


def test_a_bare_word_is_bounded_where_it_says_so() -> None:
    open_end, open_start = words(["fuck*"]), words(["*fuck"])
    assert [open_end.find(text) for text in ("fucker", "afuck", "fuck")] == [True, False, True]
    assert [open_start.find(text) for text in ("fucker", "afuck", "fuck")] == [False, True, True]


def test_syllables_are_whole() -> None:
    assert not words(["시바"]).find("시발")
    assert words(["시바"]).find("시바야")
    assert not words(["ㅅㅂ"]).find("ㅅ바")
    assert words(["ㅅ바"]).find("야ㅅ바")


@given(
    st.sampled_from(["시발", "병신", "개새끼"]),
    st.lists(st.sampled_from(["", "", "\u200b", ".", "~", "'", "\u2060", "😀", "\u0301"]), min_size=3, max_size=3),
    st.sampled_from(["NFC", "NFD", "NFKC", "NFKD"]),
    st.sampled_from(["", "야 ", "이런, "]),
)
def test_whatever_is_put_between_the_letters(word: str, between: list[str], form: str, before: str) -> None:
    text = "".join(letter + mark for letter, mark in zip(word, [*between, ""], strict=False))
    assert LIST.find(unicodedata.normalize(form, before + text))  # type: ignore[arg-type]


@given(st.text(max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    assert LIST.find(text) in (True, False)
    assert LIST.find(f"{text}\n시발\n{text}")


@given(st.text(alphabet="시발점다표ㅅㅂㅏㅣ .\u200b1aA", max_size=30))
def test_both_looks_agree(text: str) -> None:
    """The fast look must never miss what the exact one finds."""
    assert LIST.find(text) == LIST._certain(text)


@given(
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 4)), max_size=6),
    st.lists(st.tuples(st.integers(0, 9), st.integers(1, 6)), max_size=6),
)
def test_what_lies_within_what(spans: list[tuple[int, int]], others: list[tuple[int, int]]) -> None:
    blocked, allowed = ([(start, start + length) for start, length in rows] for rows in (spans, others))
    truth = all(any(a <= start and end <= b for a, b in allowed) for start, end in blocked)
    assert _inside(blocked, allowed) == truth


def test_a_text_made_of_near_matches_costs_no_more_than_its_length() -> None:
    """Counted, not timed: what is looked at grows with the text, not with its square."""
    for text in ("시발점 ", "다시 발표 ", "ㅅ바", "시발점시발"):
        looks = []
        for times in (1_000, 4_000):
            read = _Text(text * times, LIST._alphabet)
            looks.append(len(LIST._exact.find_matches_as_indexes(bytes(read.folded), overlapping=True)))
        assert looks[1] <= 4 * looks[0] + 4
        assert LIST.find(text * 4_000) == (text == "시발점시발")


def test_a_list_of_many_words() -> None:
    names = [
        "".join(chr(0xAC00 + (number * 7_919 + place * 3_571) % 11_172) for place in range(4))
        for number in range(3_000)
    ]
    found = words(names)
    assert len(found) == 3_000
    assert all(found.find(f"그건 {name}이야") for name in names[:100])
    assert not found.find("안녕하세요, 오늘 회의는 세 시입니다.")


@pytest.mark.parametrize("text", ["", "# nothing\n\n", "!시발점"])
def test_a_list_that_blocks_nothing(text: str) -> None:
    assert not WordList(text).find("시발점 시발")


@pytest.mark.parametrize("text", ["시발\n...", "!", "".join(map(chr, range(0x4E00, 0x4F00)))])
def test_a_broken_list_says_where(text: str) -> None:
    with pytest.raises(ListBroken, match=r"line \d|at most \d+ letters"):
        WordList(text)
