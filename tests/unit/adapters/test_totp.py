"""Codes as RFC 6238 and RFC 4226 have them, and sealed secrets."""

from __future__ import annotations

import stat
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from adapters.sealing import KEY, Seal, ensure_seal
from adapters.totp import STEP_SECONDS, base32, code_at, matching_step, uri
from chat.errors import Unavailable

SECRET = b"12345678901234567890"


@pytest.mark.parametrize(
    ("at", "eight_digits"),  # RFC 6238, appendix B; ours are the last six
    [
        (59, "94287082"),
        (1111111109, "07081804"),
        (1111111111, "14050471"),
        (1234567890, "89005924"),
        (2000000000, "69279037"),
        (20000000000, "65353130"),
    ],
)
def test_the_vectors_of_the_rfc(at: int, eight_digits: str) -> None:
    assert code_at(SECRET, at // STEP_SECONDS) == eight_digits[2:]


def test_clocks_may_be_a_step_off_and_a_step_is_used_once() -> None:
    now = 1_900_000_000
    step = now // STEP_SECONDS
    for drift, fits in [(-2, False), (-1, True), (0, True), (1, True), (2, False)]:
        found = matching_step(SECRET, code_at(SECRET, step + drift), now=now, after=0)
        assert found == (step + drift if fits else None)
    for after, found in [(step - 1, step), (step, None), (step + 1, None)]:
        assert matching_step(SECRET, code_at(SECRET, step), now=now, after=after) == found


@pytest.mark.parametrize("code", ["", "12345", "1234567", "abcdef", "١٢٣٤٥٦", "一二三四五六", "-12345", " 12345"])
def test_what_is_no_code(code: str) -> None:
    assert matching_step(SECRET, code, now=59, after=0) is None


def test_what_an_app_is_told() -> None:
    told = urlsplit(uri(SECRET, account="하늘", issuer="Pabal"))
    assert (told.scheme, told.netloc) == ("otpauth", "totp")
    assert parse_qs(told.query)["secret"] == [base32(SECRET)] == ["GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"]


def test_a_seal(tmp_path: Path) -> None:
    assert ensure_seal(tmp_path)
    assert not ensure_seal(tmp_path)
    assert stat.S_IMODE((tmp_path / KEY).stat().st_mode) == 0o600
    seal = Seal(tmp_path)
    sealed = seal.seal(SECRET, purpose="totp:haneul")
    assert sealed != seal.seal(SECRET, purpose="totp:haneul")
    assert Seal(tmp_path).open(sealed, purpose="totp:haneul") == SECRET
    for broken in (sealed[:-4], "AAAA" + sealed[4:], "", "하늘", sealed + "AAAA", "A"):
        assert seal.open(broken, purpose="totp:haneul") is None
    assert seal.open(sealed, purpose="totp:bada") is None
    ensure_seal(tmp_path / "other")
    assert Seal(tmp_path / "other").open(sealed, purpose="totp:haneul") is None


@pytest.mark.parametrize("content", [None, b"", b"x", b"AAAA"])
def test_a_seal_without_a_key(tmp_path: Path, content: bytes | None) -> None:
    if content is not None:
        (tmp_path / KEY).write_bytes(content)
    with pytest.raises(Unavailable):
        Seal(tmp_path)
