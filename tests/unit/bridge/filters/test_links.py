"""Blocked links: a domain is found however it is written, and others that look like it are not."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.filters.links import LinkList, domains
from bridge.filters.lists import ListBroken

LIST = domains(["evil.example", "*.bad.example  # all of it", "나쁜.한국", "xn--o70b819a.kr"])


@pytest.mark.parametrize(
    "text",
    [
        "https://evil.example/path?x=1",
        "evil.example",
        "여기 evil.example에서 봐요",
        "여기evil.example",
        "HTTPS://WWW.EVIL.EXAMPLE:8443",
        "http://good.example@evil.example/",
        "see evil.example.",
        "(evil.example)",
        "http://evil.example./x",
        "http://ev%69l.example/",
        "http://evil。example",
        "http://ｅｖｉｌ．ｅｘａｍｐｌｅ",
        "http://ev\u200bil.example",
        "http://ev\u00adil.example",
        "me@evil.example",
        "a.b.bad.example",
        "http://나쁜.한국/가",
        "나쁜.한국에서",
        "http://XN--910B021A.XN--3E0B707E",
        "http://안녕.kr",
    ],
)
def test_a_blocked_domain_is_found(text: str) -> None:
    assert LIST.find(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "https://good.example/evil",
        "notevil.example",
        "not-evil.example",
        "evil.example.org",
        "evil.examples",
        "evil-example",
        "evil example",
        "아나쁜.한국",
        "100% 확실해요. 내일 봐요",
        "안녕하세요. 저는 하늘이에요.",
    ],
)
def test_what_only_looks_like_it_passes(text: str) -> None:
    assert not LIST.find(text)


def test_both_forms_of_an_international_domain() -> None:
    for listed in ("나쁜.한국", "xn--910b021a.xn--3e0b707e"):
        found = domains([listed])
        assert found.find("http://나쁜.한국")
        assert found.find("http://xn--910b021a.xn--3e0b707e")


@given(st.text(max_size=200))
def test_no_text_is_too_odd(text: str) -> None:
    assert LIST.find(text) in (True, False)
    assert LIST.find(f"{text} evil.example {text}")


def test_an_empty_list_blocks_nothing() -> None:
    assert not LinkList("# nothing yet\n").find("https://evil.example")


@pytest.mark.parametrize("text", ["com", "http://evil.example/", "a b.example", "evil..example", "." * 3])
def test_what_is_no_domain_says_where(text: str) -> None:
    with pytest.raises(ListBroken, match="line 2"):
        LinkList(f"good.example\n{text}")
