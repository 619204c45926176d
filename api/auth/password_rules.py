"""Which passwords are taken: length, and none that everybody guesses first (NIST SP 800-63B §3.1.1.2).

No rule about kinds of characters and no end date: both make people choose worse ones. A password is looked at in Unicode form NFC,
which is how it is hashed.
"""

from __future__ import annotations

import gzip
import unicodedata
from functools import cache
from pathlib import Path

from chat.errors import BadInput

MIN_LENGTH = 8
MAX_LENGTH = 256

MAX_DECORATION = 4
"""So many characters round a common word are decoration: `password2024` is guessed as soon as `password`."""

_COMMON = Path(__file__).with_name("common_passwords.txt")
_LEAKED = Path(__file__).with_name("leaked_passwords.txt.gz")
_LEET = str.maketrans("@4310$57!", "aaeiosstl")
_RUNS = (
    "0123456789",
    "9876543210",
    "abcdefghijklmnopqrstuvwxyz",
    "zyxwvutsrqponmlkjihgfedcba",
    "qwertyuiopasdfghjklzxcvbnm",
    "1qaz2wsx3edc4rfv5tgb6yhn7ujm",
    "가나다라마바사아자차카타파하",
    "ㄱㄴㄷㄹㅁㅂㅅㅇㅈㅊㅋㅌㅍㅎ",
    "ㅂㅈㄷㄱㅅㅛㅕㅑㅐㅔ",
)


def normal(password: str) -> str:
    """The form in which passwords are compared: 비밀번호 typed on a Mac and on a phone is one password (RFC 8265 §4.2.2)."""
    return unicodedata.normalize("NFC", password)


def check_password(password: str, *names: str) -> None:
    """That somebody may choose this password.

    Args:
        password: as it was typed.
        names: what others know of them: handle, display name.

    Raises:
        BadInput: `weak_password`.
    """
    chosen = normal(password).casefold()
    if len(chosen) < MIN_LENGTH:
        raise BadInput(f"a password has {MIN_LENGTH} characters or more", code="weak_password")
    if len(set(chosen)) <= 2 or _is_run(chosen):
        raise BadInput("this password is a row of keys: choose another", code="weak_password")
    if _bare(chosen) in {_bare(normal(name).casefold()) for name in names}:
        raise BadInput("this password is your name: choose another", code="weak_password")
    known = common()
    if {chosen, _core(chosen), chosen.translate(_LEET), _core(chosen).translate(_LEET)} & known:
        raise BadInput("this password is one of those that are guessed first: choose another", code="weak_password")


@cache
def common() -> frozenset[str]:
    """Passwords and words that guessers begin with: our own list, and what many have chosen elsewhere (`leaked_passwords.LICENSE.txt`)."""
    lines = (line.strip() for line in _COMMON.read_text("utf-8").splitlines())
    return frozenset(line for line in lines if line and not line.startswith("#")) | leaked()


@cache
def leaked() -> frozenset[str]:
    """The most used passwords of leaks that are long enough for ours, in lower case: some 11,600, one a line in the file beside this one."""
    return frozenset(gzip.decompress(_LEAKED.read_bytes()).decode().split())


def _core(text: str) -> str:
    """The text without a few digits and signs round it; the text itself when there is more round it than that."""
    core = _bare(text)
    return core if len(text) - len(core) <= MAX_DECORATION else text


def _bare(text: str) -> str:
    """The text without the digits and signs round it; the text itself when it has nothing else."""
    return text.strip("0123456789 .,;:!?@#$%^&*()-_=+~/\\|'\"<>[]{}") or text


def _is_run(text: str) -> bool:
    """Whether it is a piece of a row of keys or letters, or one short piece over and over."""
    if any(text in run + run for run in _RUNS):
        return True
    return any(len(text) % size == 0 and text == text[:size] * (len(text) // size) for size in (1, 2, 3, 4))
