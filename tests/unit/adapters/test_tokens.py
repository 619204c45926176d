"""The verifier takes what the issuer signs, and nothing else."""

from __future__ import annotations

import base64
import hmac
import json
import stat
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from joserfc import jws
from joserfc.jwk import ECKey, OctKey, OKPKey, RSAKey

from adapters.signing_keys import load_keys, new_key, write_jwks
from adapters.tokens import LEEWAY, Jwks, TokenIssuer, TokenVerifier
from chat.errors import Unauthenticated, Unavailable

NOW = 1_800_000_000
ALL = ["EdDSA", "Ed25519", "HS256", "HS512", "ES256", "RS256", "PS256", "none", "Ed448"]


def b64(data: bytes | str | dict[str, Any]) -> str:
    raw = data if isinstance(data, bytes) else (data if isinstance(data, str) else json.dumps(data)).encode()
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()


class Clock:
    def __init__(self, now: float = NOW) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class World:
    """Our keys and files, and a forger's tools."""

    def __init__(self, directory: Path) -> None:
        self.keys_dir = directory / "keys"
        self.jwks_file = directory / "jwks.json"
        self.kid = new_key(self.keys_dir)
        write_jwks(self.keys_dir, self.jwks_file)
        self.key = load_keys(self.keys_dir)[0]
        self.clock = Clock()
        self.monotonic = Clock(0.0)
        self.jwks = Jwks(self.jwks_file, monotonic=self.monotonic)
        self.verifier = TokenVerifier(self.jwks, clock=self.clock)
        self.issuer = TokenIssuer(self.keys_dir, clock=self.clock)

    def header(self, **changes: Any) -> dict[str, Any]:
        return changed({"alg": "EdDSA", "kid": self.kid, "typ": "JWT"}, changes)

    def claims(self, **changes: Any) -> dict[str, Any]:
        claims = {"iss": "pabal", "aud": "pabal", "sub": "haneul", "sid": "s1", "scope": "user", "jti": "j"}
        return changed({**claims, "iat": NOW, "nbf": NOW, "exp": NOW + 900}, changes)

    def raw(self, header: Any, payload: Any, key: OKPKey | None = None) -> str:
        """Signed by hand, with whatever header and payload."""
        text = f"{b64(header)}.{b64(payload)}"
        private: Any = (key or self.key).private_key
        return f"{text}.{b64(private.sign(text.encode()))}"

    def with_claims(self, **changes: Any) -> str:
        return self.raw(self.header(), self.claims(**changes))

    def with_header(self, **changes: Any) -> str:
        return self.raw(self.header(**changes), self.claims())

    def by_library(self, key: Any, **header: Any) -> str:
        registry = jws.JWSRegistry(algorithms=ALL, strict_check_header=False)
        return jws.serialize_compact(self.header(**header), json.dumps(self.claims()), key, registry=registry)


def changed(values: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """With changes; a None takes a value out."""
    return {name: value for name, value in {**values, **changes}.items() if value is not None}


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def tampered(world: World) -> str:
    head, _, signature = world.with_claims().split(".")
    return f"{head}.{b64(world.claims(sub='admin', scope='user admin'))}.{signature}"


def other_header(world: World) -> str:
    _, payload, signature = world.with_claims().split(".")
    return f"{b64(world.header(kid=world.kid, cty='x'))}.{payload}.{signature}"


def flipped(world: World) -> str:
    head, payload, signature = world.with_claims().split(".")
    raw = bytearray(base64.urlsafe_b64decode(signature + "=="))
    raw[10] ^= 1
    return f"{head}.{payload}.{b64(bytes(raw))}"


def pem(world: World) -> bytes:
    public: Any = world.key.public_key
    return public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def raw_public(world: World) -> bytes:
    public: Any = world.key.public_key
    return public.public_bytes(Encoding.Raw, PublicFormat.Raw)


def hmac_signed(world: World, secret: bytes, alg: str) -> str:
    """The classic confusion: what everybody may know, used as an HMAC secret. By hand: the library would not do it."""
    text = f"{b64(world.header(alg=alg))}.{b64(world.claims())}"
    return f"{text}.{b64(hmac.digest(secret, text.encode(), alg.replace('HS', 'sha')))}"


def own_key_in_header(world: World) -> str:
    mine = OKPKey.generate_key("Ed25519")
    return world.raw(world.header(jwk=mine.as_dict(private=False)), world.claims(), mine)


def ed448(world: World) -> str:
    return world.raw(world.header(), world.claims(), OKPKey.generate_key("Ed448"))


def unencoded(world: World) -> str:
    """RFC 7797: the payload as it is."""
    header = b64(world.header(b64=False, crit=["b64"]))
    payload = b64(world.claims())
    private: Any = world.key.private_key
    return f"{header}.{payload}.{b64(private.sign(f'{header}.{payload}'.encode()))}"


def detached(world: World) -> str:
    head, _, signature = world.with_claims().split(".")
    return f"{head}..{signature}"


FORGERIES: dict[str, Callable[[World], str]] = {
    # Time
    "expired": lambda w: w.with_claims(exp=NOW - LEEWAY),
    "expired long ago": lambda w: w.with_claims(exp=1),
    "not yet": lambda w: w.with_claims(nbf=NOW + LEEWAY + 1),
    "exp is text": lambda w: w.with_claims(exp="9999999999"),
    "exp is NaN": lambda w: w.raw(w.header(), json.dumps(w.claims()).replace(str(NOW + 900), "NaN")),
    "exp is infinite": lambda w: w.raw(w.header(), json.dumps(w.claims()).replace(str(NOW + 900), "1e999")),
    "exp is true": lambda w: w.with_claims(exp=True),
    "nbf is a list": lambda w: w.with_claims(nbf=[NOW]),
    # Claims
    "wrong audience": lambda w: w.with_claims(aud="other"),
    "ours among other audiences": lambda w: w.with_claims(aud=["pabal", "other"]),
    "wrong issuer": lambda w: w.with_claims(iss="evil"),
    "issuer in capitals": lambda w: w.with_claims(iss="PABAL"),
    "no issuer": lambda w: w.with_claims(iss=""),
    **{
        f"without {name}": (lambda w, name=name: w.raw(w.header(), changed(w.claims(), {name: None})))
        for name in ("iss", "aud", "sub", "sid", "scope", "nbf", "exp", "iat")
    },
    "empty sid": lambda w: w.with_claims(sid=""),
    "sid is a number": lambda w: w.with_claims(sid=7),
    "scope without user": lambda w: w.with_claims(scope="admin"),
    "scope is a list": lambda w: w.with_claims(scope=["user", "admin"]),
    "scope only looks like user": lambda w: w.with_claims(scope="username"),
    "subject is a service": lambda w: w.with_claims(sub="svc-bridge"),
    "subject is a device": lambda w: w.with_claims(sub="dev-1"),
    "subject is a path": lambda w: w.with_claims(sub="../admin"),
    "subject has a NUL": lambda w: w.with_claims(sub="haneul\0"),
    "subject ends in a line feed": lambda w: w.with_claims(sub="haneul\n"),
    "claims are a list": lambda w: w.raw(w.header(), "[1]"),
    "claims are no JSON": lambda w: w.raw(w.header(), "hello"),
    "claims are no UTF-8": lambda w: w.raw(w.header(), b'{"iss":"\xff"}'),
    "claims nest deeply": lambda w: w.raw(w.header(), '{"iss":' + "[" * 700),
    # Algorithm
    "none": lambda w: f"{b64(w.header(alg='none'))}.{b64(w.claims())}.",
    "None with a signature": lambda w: w.with_header(alg="None"),
    "HS256 with the public key in PEM": lambda w: hmac_signed(w, pem(w), "HS256"),
    "HS256 with the raw public key": lambda w: hmac_signed(w, raw_public(w), "HS256"),
    "HS512 with the x of the JWK": lambda w: hmac_signed(w, str(w.key.as_dict()["x"]).encode(), "HS512"),
    "ES256 of another key": lambda w: w.by_library(ECKey.generate_key("P-256"), alg="ES256"),
    "RS256 of another key": lambda w: w.by_library(RSAKey.generate_key(2048), alg="RS256"),
    "alg in small letters": lambda w: w.with_header(alg="eddsa"),
    "alg is a list": lambda w: w.with_header(alg=["EdDSA"]),
    "without alg": lambda w: w.with_header(alg=None),
    "Ed448 under our kid": ed448,
    # Keys
    "another key under our kid": lambda w: w.raw(w.header(), w.claims(), OKPKey.generate_key("Ed25519")),
    "unknown kid": lambda w: w.with_header(kid="other"),
    "without kid": lambda w: w.with_header(kid=None),
    "kid is a number": lambda w: w.with_header(kid=1),
    "kid is a path": lambda w: w.with_header(kid="../../keys/private"),
    "its own key in the header": own_key_in_header,
    "a key set of its own": lambda w: w.with_header(jku="https://keys.example/jwks.json"),
    "a certificate of its own": lambda w: w.with_header(x5u="https://keys.example/cert"),
    # Header
    "typ is something else": lambda w: w.with_header(typ="at+jwt"),
    "without typ": lambda w: w.with_header(typ=None),
    "an unknown critical header": lambda w: w.with_header(crit=["exp"]),
    "unencoded payload": unencoded,
    "header is a list": lambda w: w.raw('["alg"]', w.claims()),
    "header is text": lambda w: w.raw('"alg"', w.claims()),
    "header is empty": lambda w: w.raw(b"", w.claims()),
    # Signature
    "tampered claims": tampered,
    "tampered header": other_header,
    "one bit of the signature": flipped,
    "without a signature": lambda w: w.with_claims().rpartition(".")[0] + ".",
    "a padded signature": lambda w: w.with_claims() + "==",
    "detached": detached,
    # Shape
    "empty": lambda _: "",
    "dots": lambda _: "..",
    "two parts": lambda w: w.with_claims().rpartition(".")[0],
    "four parts": lambda w: w.with_claims() + ".x",
    "five parts, as if encrypted": lambda w: f"{b64({'alg': 'dir', 'enc': 'A256GCM', 'kid': w.kid})}..a.b.c",
    "a space in front": lambda w: " " + w.with_claims(),
    "a line feed behind": lambda w: w.with_claims() + "\n",
    "the scheme in front": lambda w: "Bearer " + w.with_claims(),
    "huge": lambda w: w.with_claims(pad="x" * 100_000),
    "no ASCII": lambda _: "안녕하세요.안녕.안녕",
    "a NUL": lambda w: w.with_claims() + "\0",
    "a lone surrogate": lambda _: "\ud800.a.b",
}


def test_what_the_issuer_signs_is_taken(world: World) -> None:
    token = world.issuer.issue("haneul", sid="s1")
    claims = world.verifier.verify(token.value)
    assert (claims.sub, claims.sid, claims.scope, claims.admin) == ("haneul", "s1", "user", False)
    assert claims.exp - claims.iat == token.expires_in == 900
    assert token.value not in repr(token)


def test_the_hand_made_token_of_these_tests_is_taken_too(world: World) -> None:
    """Otherwise the forgeries below could be refused for a mistake of the test's own."""
    assert world.verifier.verify(world.with_claims()).sub == "haneul"
    assert world.verifier.verify(world.by_library(world.key)).sub == "haneul"


def test_admins_have_the_scope(world: World) -> None:
    assert world.verifier.verify(world.issuer.issue("root", sid="s", admin=True).value).admin


@pytest.mark.parametrize("name", FORGERIES)
def test_forgeries_are_refused_without_being_repeated(world: World, name: str) -> None:
    token = FORGERIES[name](world)
    with pytest.raises(Unauthenticated) as caught:
        world.verifier.verify(token)
    assert caught.value.code == ("token_expired" if name.startswith("expired") else "invalid_token")
    assert len(token) < 3 or token not in str(caught.value)
    assert caught.value.__cause__ is None


def test_clocks_may_differ_a_little(world: World) -> None:
    token = world.with_claims(nbf=NOW + LEEWAY, exp=NOW + 100)
    assert world.verifier.verify(token)
    world.clock.now = NOW + 100 + LEEWAY - 1
    assert world.verifier.verify(token)
    world.clock.now += 1
    with pytest.raises(Unauthenticated):
        world.verifier.verify(token)


def test_a_new_key_is_found_once_the_file_has_it(world: World) -> None:
    world.verifier.verify(world.with_claims())
    new_key(world.keys_dir, now=datetime(2100, 1, 1, tzinfo=UTC))
    write_jwks(world.keys_dir, world.jwks_file)
    token = TokenIssuer(world.keys_dir, clock=world.clock).issue("haneul", sid="s").value
    with pytest.raises(Unauthenticated):
        world.verifier.verify(token)  # the file was read less than a second ago
    world.monotonic.now += 1.0
    assert world.verifier.verify(token).sub == "haneul"
    assert world.verifier.verify(world.with_claims()).sub == "haneul"


def test_unknown_kids_do_not_make_the_disk_busy(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = 0
    read = Path.read_bytes

    def counted(path: Path) -> bytes:
        nonlocal reads
        reads += path == world.jwks_file
        return read(path)

    monkeypatch.setattr(Path, "read_bytes", counted)
    for step in range(100):
        world.monotonic.now = step / 50
        with pytest.raises(Unauthenticated):
            world.verifier.verify(world.with_header(kid=f"forged-{step}"))
    assert reads == 2


def test_a_key_that_was_withdrawn_stops_working(world: World) -> None:
    token = world.with_claims()
    assert world.verifier.verify(token)
    (world.keys_dir / f"{world.kid}.json").unlink()
    new_key(world.keys_dir)
    write_jwks(world.keys_dir, world.jwks_file)
    world.monotonic.now += 61
    with pytest.raises(Unauthenticated):
        world.verifier.verify(token)


def test_a_signature_is_looked_at_once_as_long_as_its_key_is_there(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked = []
    real = jws.deserialize_compact

    def counted(token: Any, *values: Any, **named: Any) -> Any:
        looked.append(token)
        return real(token, *values, **named)

    monkeypatch.setattr(jws, "deserialize_compact", counted)
    token = world.with_claims()
    for _ in range(3):
        assert world.verifier.verify(token).sub == "haneul"
        world.monotonic.now += 61  # the file is read again, and is the same
    assert looked == [token]
    forged = token[:-8] + ("A" * 8 if token[-8:] != "A" * 8 else "B" * 8)
    for _ in range(2):
        with pytest.raises(Unauthenticated):
            world.verifier.verify(forged)
    new_key(world.keys_dir, now=datetime(2100, 1, 1, tzinfo=UTC))
    write_jwks(world.keys_dir, world.jwks_file)
    world.monotonic.now += 61
    assert world.verifier.verify(token).sub == "haneul"
    assert looked == [token, forged, forged, token]


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"keys": 1}', b"\xff"])
def test_a_broken_file_leaves_what_was_known(world: World, content: bytes) -> None:
    assert world.verifier.verify(world.with_claims())
    world.jwks_file.write_bytes(content)
    world.monotonic.now += 100
    assert world.verifier.verify(world.with_claims())


@pytest.mark.parametrize(
    "content", [None, b"", b'{"keys": []}', b'{"keys": [{"kty": "OKP", "crv": "Ed25519", "x": 1}]}']
)
def test_without_any_key_it_is_our_fault(tmp_path: Path, content: bytes | None) -> None:
    world = World(tmp_path)
    token = world.with_claims()
    file = tmp_path / "other.json"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(Unavailable):
        TokenVerifier(Jwks(file), clock=world.clock).verify(token)


def test_keys_of_other_kinds_in_the_file_are_ignored(world: World) -> None:
    others = [OctKey.generate_key(256), ECKey.generate_key("P-256"), OKPKey.generate_key("X25519")]
    document = json.loads(world.jwks_file.read_bytes())
    document["keys"] += [{**key.as_dict(), "kid": f"other-{place}"} for place, key in enumerate(others)]
    document["keys"] += [1, "x", {}, {"kty": "OKP", "crv": "Ed25519", "x": "!", "kid": "broken"}]
    world.jwks_file.write_text(json.dumps(document))
    assert world.verifier.verify(world.with_claims())
    assert [key["kid"] for key in world.jwks.document()["keys"]] == [world.kid]


def test_the_published_set_never_holds_private_halves(world: World) -> None:
    world.jwks_file.write_text(json.dumps({"keys": [world.key.as_dict(private=True)]}))
    assert "d" in json.loads(world.jwks_file.read_text())["keys"][0]
    (published,) = world.jwks.document()["keys"]
    assert "d" not in published
    assert published["x"] == world.key.as_dict()["x"]


def test_files_of_keys_are_their_owners(world: World) -> None:
    (file,) = world.keys_dir.iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert stat.S_IMODE(world.keys_dir.stat().st_mode) == 0o700
    assert "d" not in json.loads(world.jwks_file.read_text())["keys"][0]


def test_the_newest_key_signs(world: World) -> None:
    newest = new_key(world.keys_dir, now=datetime(2100, 1, 1, tzinfo=UTC))
    new_key(world.keys_dir, now=datetime(2001, 1, 1, tzinfo=UTC))
    assert write_jwks(world.keys_dir, world.jwks_file)[0] == newest
    token = TokenIssuer(world.keys_dir).issue("haneul", sid="s").value
    assert json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "==")) == {
        "alg": "EdDSA",
        "kid": newest,
        "typ": "JWT",
    }


def test_an_issuer_needs_a_key(tmp_path: Path) -> None:
    with pytest.raises(Unavailable, match="bootstrap"):
        TokenIssuer(tmp_path)
    (tmp_path / "x.json").write_text("{}")
    with pytest.raises(Unavailable):
        TokenIssuer(tmp_path)


def test_an_issuer_needs_the_private_half(world: World) -> None:
    (world.keys_dir / f"{world.kid}.json").write_text(json.dumps(world.key.as_dict(private=False)))
    with pytest.raises(Unavailable):
        TokenIssuer(world.keys_dir)
