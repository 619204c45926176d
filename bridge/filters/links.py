"""Links: texts that name a blocked domain, with or without `https://` before it.

The list is a text file, one domain per line; it blocks its subdomains too. International domains may be written either way (`나쁜.한국`,
`xn--…`) and are found either way.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from urllib.parse import unquote

import idna
from ahocorasick_rs import AhoCorasick

from bridge.decode import Draft
from bridge.filters.lists import ListBroken, Listed, entries
from bridge.filters.texts import texts
from chat.errors import Refused

_UNSEEN = re.compile("[\u00ad\u180e\u200b-\u200f\u2060-\u2064\ufe00-\ufe0f\ufeff]")
"""Browsers take these out of a host name (UTS 46: ignored)."""

_DOT = re.compile("[\u3002\uff0e\uff61]")
"""Dots of other scripts, which UTS 46 takes as dots."""

_LABEL = re.compile("[a-z0-9_-]")


class LinkList:
    """A list, ready to be searched for.

    Args:
        text: of the file.

    Raises:
        ListBroken: an entry is no domain.
    """

    def __init__(self, text: str) -> None:
        self._domains = sorted({form for number, line in entries(text) for form in _forms(number, line)})
        self._search = AhoCorasick(self._domains)

    def __len__(self) -> int:
        return len(self._domains)

    def find(self, text: str) -> bool:
        """Whether a blocked domain is in the text."""
        return self._find(_plain(text)) or ("%" in text and self._find(_plain(unquote(text))))

    def _find(self, plain: str) -> bool:
        found = self._search.find_matches_as_indexes(plain)
        if not found:
            return False
        found = self._search.find_matches_as_indexes(plain, overlapping=True)
        return any(_stands_alone(plain, start, end) for _, start, end in found)


class Links:
    """Refuses texts with blocked domains.

    Args:
        listed: the list, as its file says now.
    """

    def __init__(self, listed: Listed[LinkList]) -> None:
        self._listed = listed

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        find = self._listed.value.find
        for text in texts(draft):
            if find(text):
                raise Refused("the message links to a place that is not allowed here", code="blocked_link")


def domains(entries_: Iterable[str]) -> LinkList:
    """A list of these entries, as if they were the lines of a file."""
    return LinkList("\n".join(entries_))


def _plain(text: str) -> str:
    """The text as a browser reads a host name in it."""
    if text.isascii():
        return text.lower()
    seen = _UNSEEN.sub("", _DOT.sub(".", text))
    return unicodedata.normalize("NFKC", seen).lower()


def _stands_alone(plain: str, start: int, end: int) -> bool:
    """Whether it is a whole domain there: `notevil.example` and `evil.example.org` are others, `www.evil.example` is one of it.

    Texts go on without a space behind a domain (evil.example에서), so only what could be part of its last label makes it another one.
    """
    if start and plain[start - 1] != ".":
        before = plain[start - 1]
        if _LABEL.match(before) or (not plain[start].isascii() and before.isalnum()):
            return False
    behind = plain[end : end + 2]
    return not (_LABEL.match(behind) or (len(behind) == 2 and behind[0] == "." and behind[1].isalnum()))


def _forms(number: int, line: str) -> set[str]:
    """A domain as it is sent over the wire and as people write it."""
    name = _plain(line).removeprefix("*.").strip(".")
    try:
        ascii_form = idna.encode(name, uts46=True).decode()
        unicode_form = unicodedata.normalize("NFKC", idna.decode(ascii_form)).lower()
    except (idna.IDNAError, UnicodeError):
        raise ListBroken(f"line {number} is no domain") from None
    if "." not in ascii_form:
        raise ListBroken(f"line {number} is no domain")
    return {ascii_form, unicode_form}
