"""Folding: a text as the sounds that it is read as, so that one blocked word stands for all the ways to write it.

Each letter becomes one byte: Latin letters in lower case, digits, and Hangul syllables as their initial, vowel and final (NFKD does that,
and brings fullwidth, halfwidth, circled and mathematical letters and separate jamo to the same letters). Whatever is no letter has no
byte: spaces, dots, zero-width characters, accents, emoji vanish.

Finals are bytes of their own, though they sound like initials: a bare ㅅㅂ is two initials in a row, which no two syllables ever are
(맛보다 has a final ㅅ), so looking for it does not stop at half of all texts.
"""

from __future__ import annotations

import codecs
import unicodedata
from collections.abc import Iterable
from itertools import product

_LATIN = "abcdefghijklmnopqrstuvwxyz"
_DIGITS = "0123456789"
_INITIALS = "".join(map(chr, range(0x1100, 0x1113)))
_VOWELS = "".join(map(chr, range(0x1161, 0x1176)))
_FINALS = "".join(map(chr, range(0x11A8, 0x11C3)))
_BARE_CLUSTERS = "\u111a\u1121"  # what NFKD makes of the bare ㅀ and ㅄ

# Final -> the initials that it is written as when somebody takes a syllable apart: 발 as ㅂㅏㄹ, 값 as ㄱㅏㅂㅅ.
_APART = dict(
    zip(
        _FINALS,
        [
            "ᄀ",
            "ᄁ",
            "ᄀᄉ",
            "ᄂ",
            "ᄂᄌ",
            "ᄂᄒ",
            "ᄃ",
            "ᄅ",
            "ᄅᄀ",
            "ᄅᄆ",
            "ᄅᄇ",
            "ᄅᄉ",
            "ᄅᄐ",
            "ᄅᄑ",
            "ᄅᄒ",
            "ᄆ",
            "ᄇ",
            "ᄇᄉ",
            "ᄉ",
            "ᄊ",
            "ᄋ",
            "ᄌ",
            "ᄎ",
            "ᄏ",
            "ᄐ",
            "ᄑ",
            "ᄒ",
        ],
        strict=True,
    )
)

MAX_APART = 4
"""Finals of one word that may be taken apart: 16 spellings of it."""

_UNASSIGNED = "\ufffe"


class Alphabet:
    """Letters and their bytes.

    Args:
        others: words whose letters matter beside Latin, digits and Hangul: those that are looked for.

    Raises:
        ValueError: there are more letters than bytes.
    """

    def __init__(self, others: Iterable[str] = ()) -> None:
        known = _LATIN + _LATIN.upper() + _DIGITS + _INITIALS + _VOWELS + _FINALS + _BARE_CLUSTERS
        plain = {letter for letter in unicodedata.normalize("NFKD", "".join(others)) if letter.isalnum()}
        both = plain | {letter.upper() for letter in plain if len(letter.upper()) == 1}
        letters = [*known, *sorted(letter for letter in both - set(known) if letter < _UNASSIGNED)]
        if len(letters) > 255:
            raise ValueError(f"at most {255 - len(known)} letters that are neither Latin nor Hangul")
        table = "\0" + "".join(letters)
        self._map = codecs.charmap_build(table + _UNASSIGNED * (256 - len(table)))
        places = {letter: place for place, letter in enumerate(table)}
        lower = [places.get(letter.lower(), place) for place, letter in enumerate(table)]
        self._lower = bytes([*lower, *range(len(table), 256)])
        start = table.index(_VOWELS[0])
        self.vowels = frozenset(range(start, start + len(_VOWELS)))
        self.latin = frozenset(table.index(letter) for letter in _LATIN + _DIGITS)

    def fold(self, text: str) -> bytes:
        """The bytes of a text."""
        folded: bytes = codecs.charmap_encode(unicodedata.normalize("NFKD", text), "ignore", self._map)[0]
        return folded.translate(self._lower)

    def spellings(self, word: str) -> set[bytes]:
        """The bytes of a word, and of it with some of its finals written apart."""
        jamo = unicodedata.normalize("NFKD", word)
        if sum(letter in _APART for letter in jamo) > MAX_APART:
            return {self.fold(word)}
        choices = [(letter, _APART[letter]) if letter in _APART else (letter,) for letter in jamo]
        return {self.fold("".join(choice)) for choice in product(*choices)}


def letters(text: str) -> str:
    """The letters of a text in their plain form, lower case, without anything between them: 시 발 as 시발."""
    plain = unicodedata.normalize("NFKC", text).lower()
    return "".join(letter for letter in plain if letter.isalnum())


def separates(character: str) -> int:
    """What a character without a byte does between two letters: 0 nothing (it is not seen), 1 it separates, 2 it is a space."""
    category = unicodedata.category(character)
    if category in ("Cf", "Mn", "Me"):
        return 0
    return 2 if category[0] == "Z" or character in "\t\n\r\v\f" else 1
