"""Words: texts with a blocked word in them, however it is spelled.

The list is a text file, one entry per line:

    # a comment
    시발            blocked: also as 시.발, ㅅㅣㅂㅏㄹ, 시ㅂㅏㄹ, with zero-width characters, or alone as "시 발"
    ㅅㅂ            bare jamo: blocked as such, not inside of 맛보다
    fuck            Latin: blocked as a whole word; `*` at an end leaves that end open: *fuck*
    !시발점         allowed: what is blocked inside of it passes

What stands between the letters of a word decides (`_Text.breaks`): nothing that is seen, anywhere; dots and the like, where the word begins a
word of the text; spaces, where it also ends one. So "시 발" is blocked, and "다시 발표" is not.

Two looks: a fast one at bytes, which is all that most texts get, and an exact one at the texts in which the fast one found something.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from ahocorasick_rs import BytesAhoCorasick

from bridge.decode import Draft
from bridge.filters.folding import Alphabet, letters, separates
from bridge.filters.lists import ListBroken, Listed, entries
from bridge.filters.texts import texts
from chat.errors import Refused

# Latin letters, digits and whole syllables need no folding: their own bytes will do, without what stands between them.
_FOLDS = re.compile("[^\x00-\x7f가-힣]")
_BETWEEN = bytes(byte for byte in range(128) if not chr(byte).isalnum())
_LOWER = bytes(bytes([byte]).lower()[0] for byte in range(256))


@dataclass(frozen=True, slots=True)
class _Entry:
    """One line of the list.

    Attributes:
        bounded: its start and its end must be those of a word: Latin words that do not say otherwise.
        spaced: an allowed entry that is written with spaces: then what stands between its letters does not matter.
    """

    word: str
    allowed: bool = False
    bounded: tuple[bool, bool] = (False, False)
    spaced: bool = False


class WordList:
    """A list, ready to be searched for.

    Args:
        text: of the file.

    Raises:
        ListBroken: an entry has no letter, or there are too many kinds of letters.
    """

    def __init__(self, text: str) -> None:
        self._entries = [_entry(number, line) for number, line in entries(text)]
        try:
            self._alphabet = Alphabet(entry.word for entry in self._entries)
        except ValueError as error:
            raise ListBroken(str(error)) from None
        rows = [(entry, spelling) for entry in self._entries for spelling in self._alphabet.spellings(entry.word)]
        self._allows = any(entry.allowed for entry in self._entries)
        self._owners = [entry for entry, _ in rows]
        self._exact = BytesAhoCorasick([spelling for _, spelling in rows])
        blocked = [(entry, spelling) for entry, spelling in rows if not entry.allowed]
        self._folded = BytesAhoCorasick([spelling for _, spelling in blocked])
        self._plain = BytesAhoCorasick({entry.word.encode() for entry, _ in blocked})

    def __len__(self) -> int:
        return len(self._entries)

    def find(self, text: str) -> bool:
        """Whether a blocked word is in the text."""
        if text.isascii() or _FOLDS.search(text) is None:
            found = self._plain.find_matches_as_indexes(text.encode().translate(_LOWER, _BETWEEN))
        else:
            found = self._folded.find_matches_as_indexes(self._alphabet.fold(text))
        return bool(found) and self._certain(text)

    def _certain(self, text: str) -> bool:
        """The exact look: time linear in the text and what is found in it, at about 50 µs per 100 characters."""
        read = _Text(text, self._alphabet)
        blocked: list[tuple[int, int]] = []
        allowed: list[tuple[int, int]] = []
        for index, start, end in self._exact.find_matches_as_indexes(bytes(read.folded), overlapping=True):
            entry = self._owners[index]
            if not read.whole(start, end):
                continue
            breaks = read.breaks(start, end)
            if entry.allowed:
                if breaks == 0 or entry.spaced:
                    allowed.append((start, end))
            elif read.meant(start, end, breaks, entry.bounded):
                if not self._allows:
                    return True
                blocked.append((start, end))
        return not _inside(blocked, allowed)


class Words:
    """Refuses texts with blocked words.

    Args:
        listed: the list, as its file says now.
    """

    def __init__(self, listed: Listed[WordList]) -> None:
        self._listed = listed

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        find = self._listed.value.find
        for text in texts(draft):
            if find(text):
                raise Refused("the message has a word in it that is not allowed here", code="blocked_word")


class _Text:
    """A folded text that remembers what each byte comes from, and what stood before it."""

    def __init__(self, text: str, alphabet: Alphabet) -> None:
        self.folded = bytearray()
        self._origin: list[int] = []  # per byte: the place of its character
        self._gap: list[int] = []  # per byte: the strongest separator before it, see `folding.separates`
        self._vowels = alphabet.vowels
        self._latin = alphabet.latin
        known: dict[str, tuple[bytes, int]] = {}
        gap = 2
        for place, character in enumerate(text):
            fold = known.get(character)
            if fold is None:
                folded = alphabet.fold(character)
                fold = known[character] = (folded, 0 if folded else separates(character))
            if not fold[0]:
                gap = max(gap, fold[1])
                continue
            for byte in fold[0]:
                self.folded.append(byte)
                self._origin.append(place)
                self._gap.append(gap)
                gap = 0
        self._gap.append(max(gap, 2))  # the end of the text

    def whole(self, start: int, end: int) -> bool:
        """Whether it begins and ends with a syllable, not inside of one: 시바 is not in 시발, 시발 is not in 시바라."""
        if start and self._origin[start] == self._origin[start - 1]:
            return False
        if end == len(self.folded):
            return True
        if self._origin[end] == self._origin[end - 1]:
            return False
        # A consonant that stands alone and is followed by a vowel that does is an initial: ㅅㅣㅂㅏㄹㅏ ends in 라.
        return not (
            self.folded[end] in self._vowels and self._gap[end] == 0 and self.folded[end - 1] not in self._vowels
        )

    def breaks(self, start: int, end: int) -> int:
        """The strongest separator between its letters."""
        return max(self._gap[start + 1 : end], default=0)

    def meant(self, start: int, end: int, breaks: int, bounded: tuple[bool, bool]) -> bool:
        """Whether the letters are read as that word, given what stands between and around them."""
        begins, ends = self._gap[start] > 0, self._gap[end] > 0
        if breaks and not begins:
            return False
        if breaks == 2 and not ends:
            return False
        open_start = begins or self.folded[start - 1] not in self._latin
        open_end = ends or self.folded[end] not in self._latin
        return (open_start or not bounded[0]) and (open_end or not bounded[1])


def _inside(spans: list[tuple[int, int]], others: list[tuple[int, int]]) -> bool:
    """Whether each span lies within one of the others; by one walk over both."""
    others.sort()
    place = reach = 0
    for start, end in sorted(spans):
        while place < len(others) and others[place][0] <= start:
            reach = max(reach, others[place][1])
            place += 1
        if end > reach:
            return False
    return True


def _entry(number: int, line: str) -> _Entry:
    allowed = line.startswith("!")
    text = line.removeprefix("!").strip()
    word = letters(text)
    if not word:
        raise ListBroken(f"line {number} has no letter")
    latin = word.isascii()
    bounded = (latin and not text.startswith("*"), latin and not text.endswith("*"))
    return _Entry(word, allowed, bounded, spaced=any(map(str.isspace, text)))


def words(entries_: Iterable[str]) -> WordList:
    """A list of these entries, as if they were the lines of a file."""
    return WordList("\n".join(entries_))
