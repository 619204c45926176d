"""Encryption and keys of Web Push."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from joserfc import jwt

from adapters import vapid
from adapters.web_push_encryption import MAX_PLAIN, RECORD, encrypt, read_keys, unpadded
from api import push_keys
from chat.errors import NotFound, Unavailable

# RFC 8291, Appendix A.
P256DH = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
AUTH = "BTBZMqHH6r4Tts7J_aSIgg"
SALT = "DGv6ra1nlYgDCS1FRnbzlw"
PRIVATE = "yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"
EXPECTED = (
    "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl7A_yl95b"
    "Qpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
)
NOW = 1_777_000_000.0


def test_the_example_of_the_standard() -> None:
    private = ec.derive_private_key(int.from_bytes(unpadded(PRIVATE), "big"), ec.SECP256R1())
    body = encrypt(
        b"When I grow up, I want to be a watermelon", p256dh=P256DH, auth=AUTH, salt=unpadded(SALT), private=private
    )
    assert base64.urlsafe_b64encode(body).rstrip(b"=").decode() == EXPECTED


def test_no_two_bodies_are_alike_and_none_is_too_long() -> None:
    one, two = (encrypt("안녕".encode(), p256dh=P256DH, auth=AUTH) for _ in range(2))
    assert one[:16] != two[:16]
    assert one[21:86] != two[21:86]
    assert len(encrypt(b"x" * MAX_PLAIN, p256dh=P256DH, auth=AUTH)) == RECORD
    with pytest.raises(ValueError, match="at most"):
        encrypt(b"x" * (MAX_PLAIN + 1), p256dh=P256DH, auth=AUTH)


@pytest.mark.parametrize(
    ("p256dh", "auth"),
    [
        ("", AUTH),
        (P256DH, ""),
        (P256DH[:-4], AUTH),
        (P256DH, AUTH + "AAAA"),
        ("B" + "A" * 86, AUTH),  # no point of the curve
        ("안녕", AUTH),
        (P256DH.replace("-", "!"), AUTH),
    ],
)
def test_what_are_no_keys_of_a_browser(p256dh: str, auth: str) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the message is the library's own
        read_keys(p256dh, auth)


def test_padding_is_allowed() -> None:
    assert read_keys(P256DH + "=", AUTH + "==")[1] == unpadded(AUTH)


def test_a_key_is_private_and_its_public_half_a_point(tmp_path: Path) -> None:
    directory = tmp_path / "vapid"
    kid = vapid.new_key(directory)
    (file,) = directory.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    (key,) = vapid.load_keys(directory)
    assert key.kid == kid
    assert len(unpadded(key.public)) == 65
    ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), unpadded(key.public))


def test_a_signature_is_for_one_service_and_renewed_in_time(tmp_path: Path) -> None:
    vapid.new_key(tmp_path)
    now = NOW
    keys = vapid.VapidKeys(tmp_path, "mailto:push@example.org", clock=lambda: now)
    (key,) = keys.keys()
    header = keys.authorization(key.public, "https://push.example")
    assert header is not None
    token = header.removeprefix("vapid t=").removesuffix(f", k={key.public}")
    claims = jwt.decode(token, key.private, algorithms=["ES256"]).claims
    assert claims == {"aud": "https://push.example", "exp": NOW + 12 * 3600, "sub": "mailto:push@example.org"}
    now = NOW + 10 * 3600
    assert keys.authorization(key.public, "https://push.example") == header
    assert keys.authorization(key.public, "https://other.example") != header
    now = NOW + 11.5 * 3600
    assert keys.authorization(key.public, "https://push.example") != header


def test_after_a_rotation_older_browsers_are_reached_with_their_key(tmp_path: Path) -> None:
    now = NOW
    first = vapid.new_key(tmp_path)
    keys = vapid.VapidKeys(tmp_path, "mailto:push@example.org", clock=lambda: now)
    (older,) = keys.keys()
    vapid.new_key(tmp_path)
    now += 11
    newest, other = keys.keys()
    assert (newest.public != older.public, other.public) == (True, older.public)
    assert keys.authorization(older.public, "https://push.example") is not None
    vapid.withdraw(tmp_path, first)
    now += 11
    assert keys.authorization(older.public, "https://push.example") is None
    assert keys.authorization(newest.public, "https://push.example") is not None
    for nobody in (first, "../x", ""):
        with pytest.raises(NotFound):
            vapid.withdraw(tmp_path, nobody)


@pytest.mark.parametrize("content", ["", "{}", "[]", '{"kty": "oct", "k": "AAAA"}'])
def test_a_file_that_is_no_key_is_told(tmp_path: Path, content: str) -> None:
    (tmp_path / "20260101-x.json").write_text(content)
    with pytest.raises(Unavailable, match="can't be read"):
        vapid.load_keys(tmp_path)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--vapid-dir", str(tmp_path)]
    assert push_keys.main([*where, "rotate"]) == push_keys.main([*where, "rotate"]) == 0
    capsys.readouterr()
    assert push_keys.main([*where, "list"]) == 0
    newest, older = (line.split() for line in capsys.readouterr().out.splitlines())
    assert (newest[1], older[1]) == ("newest", "older")
    assert push_keys.main([*where, "withdraw", older[0]]) == 0
    assert [key.public for key in vapid.load_keys(tmp_path)] == [newest[2]]
    assert push_keys.main([*where, "withdraw", older[0]]) == 1
    assert "there is no key" in capsys.readouterr().err
