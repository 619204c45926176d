"""Forged tokens on the running stack: every one of `tests/unit/adapters/test_tokens.py` and more, over REST, MQTT and WebSocket.

They are made with the stack's own signing key where that helps the forger, for a user who is there and a sign-in that lives: the control
is the same token without the forgery, which is taken everywhere.
"""

from __future__ import annotations

import base64
import json
import os
import secrets
import socket
import time
from collections.abc import Callable, Iterator
from typing import Any
from urllib.parse import urlsplit

import pytest
from joserfc.jwk import OctKey

from adapters.tokens import load_keys
from mqtt.codec import V5, V311, Decoder, encode
from mqtt.packets import ConnAck, Connect
from stack.testing import RunningStack
from tests.e2e.test_bad_input import People
from tests.unit.adapters import test_tokens
from tests.unit.adapters.test_tokens import FORGERIES, World, hmac_signed
from tests.wire.conftest import PATIENCE, Wire
from tests.wire.test_websocket import MQTT, REQUEST

pytestmark = pytest.mark.e2e

BAD_USER_OR_PASSWORD = 0x86
BAD_USER_OR_PASSWORD_V4 = 4


class Forger(World):
    """The keys of the running stack, and claims about somebody who is signed in there."""

    def __init__(self, stack: RunningStack, token: str) -> None:
        self.keys_dir = stack.state.directory("keys")
        self.jwks_file = stack.state.jwks
        self.key = load_keys(self.keys_dir)[0]
        self.kid = str(self.key.kid)
        self.genuine: dict[str, Any] = json.loads(base64.urlsafe_b64decode(token.split(".")[1] + "=="))

    def claims(self, **changes: Any) -> dict[str, Any]:
        return super().claims(**({"sub": self.genuine["sub"], "sid": self.genuine["sid"]} | changes))


def twice(world: World, name: str, value: str) -> str:
    """A claim that comes twice: one reader takes the first, another the last."""
    text = json.dumps(world.claims())
    return world.raw(world.header(), f'{{"{name}": {json.dumps(value)}, {text[1:-1]}, "{name}": {json.dumps(value)}}}')


MORE: dict[str, Callable[[World], str]] = {
    # By the clock, which goes on while the others are tried: there is no second to spare here.
    "not yet": lambda w: w.with_claims(nbf=int(time.time()) + 600, exp=int(time.time()) + 1_500),
    "a service's name twice": lambda w: twice(w, "sub", "svc-bridge"),
    "another audience twice": lambda w: twice(w, "aud", "other"),
    "alg twice": lambda w: w.raw('{"alg":"none",' + json.dumps(w.header())[1:], w.claims()),
    "none after EdDSA": lambda w: w.raw(json.dumps(w.header())[:-1] + ',"alg":"none"}', w.claims()),
    "kid is a file that is empty": lambda w: w.with_header(kid="../../../../dev/null"),
    "kid is a query": lambda w: w.with_header(kid="' OR '1'='1"),
    "kid is an operator": lambda w: w.with_header(kid={"$ne": None}),
    "kid ends in a NUL": lambda w: w.with_header(kid=f"{w.kid}\0"),
    "kid in capitals": lambda w: w.with_header(kid=f"{w.kid}".upper() + "X"),
    "HS256 with an empty secret": lambda w: hmac_signed(w, b"", "HS256"),
    "HS256 with the kid": lambda w: hmac_signed(w, w.kid.encode(), "HS256"),
    "HS384 by the library": lambda w: w.by_library(OctKey.import_key(b"x" * 48), alg="HS512"),
    "a sign-in that nobody has": lambda w: w.with_claims(sid="s" * 32),
    "somebody who is not there": lambda w: w.with_claims(sub="nobody-at-all"),
    "certificate chain in the header": lambda w: w.with_header(x5c=["MIIB"]),
    "a thumbprint": lambda w: w.with_header(x5t="AAAA"),
    "compressed": lambda w: w.with_header(zip="DEF"),
    "nested": lambda w: w.with_header(cty="JWT"),
    "an exp before all time": lambda w: w.with_claims(exp=-1),
    "nbf and exp of another century": lambda w: w.with_claims(nbf=4_000_000_000, exp=4_000_000_900),
    "large": lambda w: w.with_claims(pad="x" * 40_000),
    "the JSON serialisation": lambda w: json.dumps(
        dict(zip(("protected", "payload", "signature"), w.with_claims().split("."), strict=True))
    ),
}
ALL = FORGERIES | MORE
NOT_IN_A_HEADER = {"a line feed behind", "a NUL", "a lone surrogate", "a space in front", "no ASCII", "empty"}
"""HTTP can't say them, or means something else with them: over MQTT they are tried."""

NOT_IN_A_CONNECT = {"huge", "a lone surrogate"}
"""More than the 65,535 bytes of a password; no UTF-8 that a password could be made of."""


@pytest.fixture(scope="module")
def people(stack: RunningStack) -> Iterator[People]:
    made = People(stack)
    yield made
    made.http.close()


@pytest.fixture
def forger(stack: RunningStack, people: People, monkeypatch: pytest.MonkeyPatch) -> Forger:
    monkeypatch.setattr(test_tokens, "NOW", int(time.time()))
    return Forger(stack, people.tokens[people.ari])


def connect(user: str, password: bytes, version: int) -> bytes:
    return encode(Connect(f"{user}:{secrets.token_hex(4)}", version, username=user, password=password), version)


TOO_LARGE = {"huge", "large"}
"""Cut from the size of the request or packet alone, before anybody reads it."""


def over_tcp(stack: RunningStack, user: str, password: bytes, version: int) -> ConnAck:
    wire = Wire(stack.info["mqtt_port"], version=version)
    try:
        wire.send(connect(user, password, version))
        answer = wire.read()
    finally:
        wire.close()
    assert isinstance(answer, ConnAck)
    return answer


def over_websocket(stack: RunningStack, user: str, password: bytes) -> ConnAck:
    """The CONNECT in one masked frame."""
    packet, mask = connect(user, password, V5), os.urandom(4)
    size = (
        b"\xfe" + len(packet).to_bytes(2, "big") if len(packet) < 65_536 else b"\xff" + len(packet).to_bytes(8, "big")
    )
    frame = b"\x82" + size + mask + bytes(byte ^ mask[n % 4] for n, byte in enumerate(packet))
    with socket.create_connection(
        ("127.0.0.1", int(urlsplit(stack.info["ws_url"]).port or 0)), timeout=PATIENCE
    ) as sock:
        sock.sendall(REQUEST.format(path="/mqtt", protocol=MQTT).encode())
        reader = sock.makefile("rb")
        while reader.readline() not in {b"\r\n", b""}:
            pass
        sock.sendall(frame)
        _, length = reader.read(2)
        (answer,) = Decoder(version=V5).feed(
            reader.read(int.from_bytes(reader.read(2), "big") if length == 126 else length)
        )
    assert isinstance(answer, ConnAck)
    return answer


def test_there_are_enough() -> None:
    assert len(ALL) - len(NOT_IN_A_HEADER) >= 90
    assert {*NOT_IN_A_HEADER, *NOT_IN_A_CONNECT} <= set(ALL)


def test_rest(people: People, forger: Forger) -> None:
    def ask(token: str) -> tuple[int, dict[str, Any]]:
        found = people.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"})
        return found.status_code, found.json()

    for name, make in ALL.items():
        if name in NOT_IN_A_HEADER:
            continue
        token = make(forger)
        if name in TOO_LARGE:
            assert people.http.get("/v1/me", headers={"Authorization": f"Bearer {token}"}).status_code in {400, 401}
            continue
        status, body = ask(token)
        assert (status, body.get("code")) in {
            (401, "invalid_token"),
            (401, "token_expired"),
            (401, "signed_out"),
            (401, "unauthenticated"),
        }, (name, body)
        assert len(token) < 3 or token not in json.dumps(body)
    assert ask(forger.with_claims())[0] == 200
    assert ask(people.tokens[people.ari])[0] == 200


@pytest.mark.parametrize("transport", ["MQTT 3.1.1", "MQTT 5", "WebSocket"])
def test_mqtt(stack: RunningStack, people: People, forger: Forger, transport: str) -> None:
    def ask(user: str, password: bytes) -> ConnAck:
        if transport == "WebSocket":
            return over_websocket(stack, user, password)
        return over_tcp(stack, user, password, V5 if transport == "MQTT 5" else V311)

    refused = BAD_USER_OR_PASSWORD_V4 if transport == "MQTT 3.1.1" else BAD_USER_OR_PASSWORD
    neighbour = people.client(people.bo)
    for name, make in ALL.items():
        if name in NOT_IN_A_CONNECT:
            continue
        token = make(forger)
        if name in TOO_LARGE:
            with pytest.raises((EOFError, ValueError, ConnectionResetError)):
                ask(people.ari, token.encode())
            continue
        answer = ask(people.ari, token.encode())
        assert answer.reason in {refused, BAD_USER_OR_PASSWORD}, (name, answer)
        assert len(token) < 3 or token not in str(answer.properties)
    assert ask(people.ari, forger.with_claims().encode()).reason == 0
    for other in (people.bo, "svc-bridge", "haneul"):
        assert ask(other, forger.with_claims().encode()).reason in {refused, BAD_USER_OR_PASSWORD}
    neighbour.quiet()
    neighbour.close()
