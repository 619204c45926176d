"""Every POST takes an `Idempotency-Key`: generated from OpenAPI, so that a new one that creates something and does not go by it fails."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from api import clock, idempotency
from api.app import create_app
from api.idempotency import is_exempt
from api.settings import Settings
from tests.contract.api.route_rules import RULES, Who
from tests.contract.api.world import World, filled

CREATES_NOTHING = {
    "/v1/auth/token": "its answers are not kept; a sign-in that nobody uses ends by itself",
    "/v1/auth/revoke": "ends what it names",
    "/v1/auth/introspect": "looks",
    "/v1/auth/oidc/{provider}/start": "what it begins lies with the caller",
    "/v1/auth/oidc/{provider}/finish": "the provider names whom it makes, and takes a code once",
    "/v1/invitations/preview": "looks",
    "/v1/me/second-factor/remove": "takes away",
    "/v1/admin/dead-letters/{letter}/replay": "the message has its own id (P4)",
}
"""POSTs that need not be finished after a kill, and why."""

SEPARATE = {"/v1/me/second-factor/confirm": "needs a code: test_second_factor.py"}

ANOTHER = {"/v1/devices/{device}/certificates": "each is as good as the other, and none is kept here"}
"""Where the second attempt answers something else, and why that is right."""

CREATING = [path for method, path in RULES if method == "post" and path not in CREATES_NOTHING | SEPARATE]


def request_of(route: tuple[str, str]) -> dict[str, Any]:
    """The request for a route: that of its rule, unless it creates nothing."""
    wish = RULES[route].body
    body = {} if wish is None else wish()
    if "members" in body and route[1] == "/v1/chats":
        body["members"] = ["member"]
    return body


def csr() -> str:
    key = ec.generate_private_key(ec.SECP256R1())
    made = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([])).sign(key, hashes.SHA256())
    return made.public_bytes(serialization.Encoding.PEM).decode()


def test_every_post_takes_a_key_and_is_accounted_for(tmp_path: Path) -> None:
    """A new POST is tried below unless it is on one of the lists above, with a reason; one that says 201 can't say that it creates nothing."""
    chosen = {"mongo_url": "x", "link_secret_file": tmp_path, "keys_dir": tmp_path, "jwks_file": tmp_path}
    found = create_app(Settings.model_validate(chosen)).openapi()
    posts = {path: methods["post"] for path, methods in found["paths"].items() if "post" in methods}
    assert set(posts) == {*CREATING, *CREATES_NOTHING, *SEPARATE}
    for path, post in posts.items():
        named = {parameter["name"] for parameter in post.get("parameters", [])}
        assert ("Idempotency-Key" in named) == (not is_exempt(path)), path
        assert not is_exempt(path) or path in CREATES_NOTHING, path
        assert not ("201" in post["responses"] and path in CREATES_NOTHING), path


class Killed(BaseException):
    """The process is gone when it has done everything but answer."""


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> Callable[[], bytes]:
    """Kill whoever is about to answer; what they would have said."""
    kept: list[bytes] = []

    async def ended(_: Any, answer: Any) -> None:
        kept.append(bytes([answer.status // 100]) + answer.body)
        raise Killed

    async def nothing(_: Any) -> None:
        """A killed process ends no lease."""

    monkeypatch.setattr(idempotency._Use, "ended", ended)
    monkeypatch.setattr(idempotency._Use, "failed", nothing)
    return kept.pop


async def test_what_was_killed_is_finished_and_answered_the_same(
    world: World, answers: Callable[[], bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    real, moment = idempotency.now, clock.now() + idempotency.LEASE + timedelta(seconds=1)
    token = (await world.users["owner"].post(f"/v1/chats/{world.ids['chat']}/invitations", {})).json()["token"]
    special = {
        "/v1/invitations/accept": {"token": token},
        "/v1/devices/{device}/certificates": {"csr": csr()},
    }
    for path in CREATING:
        who = (
            "stranger"
            if path == "/v1/invitations/accept"
            else "root"
            if RULES["post", path].who > Who.OWNER
            else "owner"
        )
        request = {"json": special.get(path, request_of(("post", path))), "headers": {"Idempotency-Key": path}}
        monkeypatch.setattr(idempotency, "now", real)
        with pytest.raises(Killed):
            await call(world, who, path, request)
        first = answers()
        monkeypatch.setattr(idempotency, "now", lambda: moment)
        with pytest.raises(Killed):
            await call(world, who, path, request)
        second = answers()
        assert first[0] == second[0] == 2, path
        if path not in ANOTHER:
            assert second == first, path


async def test_the_same_key_is_answered_from_what_was_kept(world: World) -> None:
    """Nobody is asked twice: the second answer is the first one, byte by byte, and says so."""
    for path in ("/v1/admin/broadcasts", "/v1/admin/services", "/v1/chats/{chat}/invitations"):
        who = "root" if path.startswith("/v1/admin") else "owner"
        request = {"json": request_of(("post", path)), "headers": {"Idempotency-Key": path}}
        first, again = [await call(world, who, path, request) for _ in range(2)]
        assert first.status_code == 201
        assert (again.content, again.headers["idempotency-replayed"]) == (first.content, "true")


async def call(world: World, who: str, path: str, request: dict[str, Any]) -> httpx.Response:
    if RULES["post", path].who is Who.ANYBODY:
        return await world.api.client.post(path, **request)
    return await world.users[who].call("POST", filled(path, world.ids), **request)
