"""Looking for people and things by a piece of their name, the same in every store."""

from __future__ import annotations

import re
import unicodedata


def holding(text: str) -> str:
    """A pattern for what holds `text`, to be used whatever the case.

    Names are kept as they were sent: 하늘 from a Mac is made of jamo (NFD), from a phone of syllables (NFC). Both are found.
    """
    return "|".join(dict.fromkeys(re.escape(unicodedata.normalize(form, text)) for form in ("NFC", "NFD")))


def beginning(text: str) -> str:
    """A pattern for ids that begin with `text`."""
    return "^" + re.escape(text)
