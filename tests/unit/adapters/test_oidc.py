"""ID tokens that are not what they have to be: signed by a provider's real keys, and by others'."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from joserfc import jwt
from joserfc.jwk import ECKey, KeySet, OctKey, RSAKey

from adapters.oidc import MAX_ANSWER, Begun, OidcProvider, ProviderConfig
from chat.errors import Unauthenticated, Unavailable

ISSUER = "https://id.example"
BEGUN = Begun(state="s", nonce="n", verifier="v" * 43, redirect_uri="https://app.example/callback")
RSA, EC = RSAKey.generate_key(2048, {"kid": "r1"}), ECKey.generate_key("P-256", {"kid": "e1"})
STRANGER = RSAKey.generate_key(2048, {"kid": "r1"})


class World:
    """A provider's answers, as the network would carry them."""

    def __init__(self) -> None:
        self.keys: list[Any] = [RSA, EC]
        self.token: Any = None
        self.discovery: dict[str, Any] = {
            "issuer": ISSUER,
            "authorization_endpoint": f"{ISSUER}/auth",
            "token_endpoint": f"{ISSUER}/token",
            "jwks_uri": f"{ISSUER}/jwks",
        }
        self.asked: list[str] = []
        self.monotonic = 0.0
        config = ProviderConfig(issuer=ISSUER, client_id="pabal", redirect_uris=[BEGUN.redirect_uri])
        http = httpx.AsyncClient(transport=httpx.MockTransport(self._answer))
        self.provider = OidcProvider(config, http, monotonic=lambda: self.monotonic)

    def _answer(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request.url.path)
        match request.url.path:
            case "/.well-known/openid-configuration":
                return httpx.Response(200, json=self.discovery)
            case "/jwks":
                return httpx.Response(200, json=KeySet(self.keys).as_dict(private=False))
            case _:
                return httpx.Response(200, json={"id_token": self.token})

    async def takes(self, token: Any) -> bool:
        self.token = token
        try:
            return (await self.provider.exchange("code", BEGUN))["sub"] == "1"
        except Unauthenticated as error:
            return error.code != "oidc_refused"


def signed(key: Any = RSA, alg: str = "RS256", **changes: Any) -> str:
    now = int(time.time())
    claims = {"iss": ISSUER, "aud": "pabal", "sub": "1", "nonce": "n", "iat": now, "exp": now + 86_400, **changes}
    header = {"alg": alg, "kid": "r1" if alg != "ES256" else "e1"}
    kept = {name: value for name, value in claims.items() if value is not None}
    return jwt.encode(header, kept, key, algorithms=[alg])


# Tokens are made when their test runs: one made while tests are collected is refused for its age at the end of a long run.
@pytest.mark.parametrize(
    "make",
    [
        signed,
        lambda: signed(EC, "ES256"),
        lambda: signed(alg="PS256"),
        lambda: signed(aud=["pabal"]),
        lambda: signed(aud=["pabal", "other"], azp="pabal"),
    ],
)
async def test_taken(make: Callable[[], str]) -> None:
    assert await World().takes(make())


PEM = RSA.as_pem(private=False)
PAST = int(time.time()) - 3600


@pytest.mark.parametrize(
    "make",
    [
        lambda: signed(STRANGER),
        lambda: signed(OctKey.import_key(PEM.hex()), "HS256"),
        lambda: signed(alg="RS512"),
        lambda: jwt.encode(
            {"alg": "none"}, {"iss": ISSUER, "aud": "pabal", "sub": "1"}, OctKey.import_key("x"), algorithms=["none"]
        ),
        lambda: signed(iss="https://other.example"),
        lambda: signed(iss=None),
        lambda: signed(aud="other"),
        lambda: signed(aud=None),
        lambda: signed(aud=["pabal", "other"]),
        lambda: signed(azp="other"),
        lambda: signed(nonce="other"),
        lambda: signed(nonce=None),
        lambda: signed(exp=PAST),
        lambda: signed(exp=None),
        lambda: signed(exp="soon"),
        lambda: signed(iat=PAST),
        lambda: signed(iat=None),
        lambda: signed(sub=None),
        lambda: signed(sub=""),
        lambda: signed(sub="x" * 256),
        lambda: signed(sub=1),
        lambda: signed()[:-6],
        lambda: signed().replace(".", "", 1),
        lambda: "",
        lambda: "하늘",
        lambda: None,
        lambda: 1,
    ],
)
async def test_refused(make: Callable[[], Any]) -> None:
    assert not await World().takes(make())


async def test_a_new_key_is_found_and_unknown_ones_do_not_make_the_provider_busy() -> None:
    world = World()
    world.keys = [EC]
    assert not await world.takes(signed())
    for _ in range(5):
        assert not await world.takes(signed())
    assert world.asked.count("/jwks") == 1
    world.keys = [RSA]
    world.monotonic = 11.0
    assert await world.takes(signed())
    assert world.asked.count("/jwks") == 2
    assert world.asked.count("/.well-known/openid-configuration") == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"issuer": "https://other.example"},
        {"token_endpoint": "http://id.example/token"},
        {"token_endpoint": "file:///etc/passwd"},
        {"token_endpoint": None},
        {"filler": "x" * MAX_ANSWER},
    ],
)
async def test_providers_that_are_not_believed(changes: dict[str, Any]) -> None:
    world = World()
    world.discovery |= changes
    with pytest.raises(Unavailable):
        await world.takes(signed())


def test_a_provider_is_reached_over_https() -> None:
    with pytest.raises(Unavailable):
        ProviderConfig(issuer="http://id.example", client_id="pabal", redirect_uris=["x"])
