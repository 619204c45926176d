"""Idempotency keys: a POST that is sent again with the same `Idempotency-Key` creates nothing new and is answered as the first time.

| the same key again | answer |
|---|---|
| the first one was answered 2xx | that answer, with `Idempotency-Replayed: true` |
| the first one was refused (4xx) | it is tried anew: nothing was created (of one that goes on with a killed one, nobody knows: it goes on again) |
| the first one failed (5xx), or its process was killed | it is tried anew with the same ids and secrets (`api.creation`) |
| the first one is under way | 409 `idempotency_in_progress`, with Retry-After |
| with another request | 422 `idempotency_key_reused` |

A key belongs to who is signed in; without a sign-in, to the address. It is remembered for a day (`PABAL_API_IDEMPOTENCY_SECONDS`). Answers may hold
secrets (of a device, say), so they are kept encrypted with the client's key, of which the store has only a hash.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import msgspec
import structlog
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adapters.authenticator import PolicyAuthenticator
from api import creation, errors
from api.clock import now
from chat.errors import BadInput, Conflict, PabalError, Unauthenticated, Unavailable
from chat.idempotency import Attempt, IdempotencyStore

HEADER = "Idempotency-Key"
REPLAYED = b"idempotency-replayed"
LEASE = timedelta(seconds=30)
"""Longer than a request takes (`PABAL_API_SEND_TIMEOUT` and the database's own bounds); after it a request counts as killed."""

MAX_ANSWER = 256 * 1024
"""Longer answers are not kept: what creates something says so in less."""

EXEMPT = frozenset({"/v1/auth/token", "/v1/auth/introspect", "/v1/auth/revoke"})
SIGN_INS_ELSEWHERE = "/v1/auth/oidc/"
"""Signing in, and looking at a sign-in, create nothing that could be there twice, and their answers are nothing to be kept."""

NAMELESS = frozenset({"/v1/auth/register"})
"""What creates something for who has no sign-in. Elsewhere the route says that it needs one, and no key is written down for a stranger (P8)."""

_KEPT = frozenset({b"content-type", b"location", b"etag"})
_KEY = re.compile(r"[\x21-\x7e]{1,255}")
_NONCE = 12
_log = structlog.get_logger("api")


class Answer(msgspec.Struct, array_like=True):
    """An answer as it is kept."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Answer).decode


class Idempotency:
    """Stands round the routes.

    Args:
        app: what it stands round; its `scope["app"].state.parts` has the store and the authenticator.
        seconds: for how long a key is remembered.
    """

    def __init__(self, app: ASGIApp, *, seconds: float) -> None:
        self._app = app
        self._kept_for = timedelta(seconds=seconds)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request."""
        offered = None
        if scope["type"] == "http" and scope["method"] == "POST" and not is_exempt(scope["path"]):
            offered = Headers(scope=scope).get(HEADER)
        if offered is None:
            await self._app(scope, receive, send)
            return
        try:
            await self._once(scope, receive, send, offered)
        except PabalError as error:
            await errors.of_error(scope, error)(scope, receive, send)

    async def _once(self, scope: Scope, receive: Receive, send: Send, offered: str) -> None:
        key = offered.strip().strip('"')
        if not _KEY.fullmatch(key):
            raise BadInput(f"{HEADER} is 1 to 255 visible characters of ASCII", code="invalid_idempotency_key")
        parts = scope["app"].state.parts
        whose = await _whose(scope, parts.authenticator)
        if whose is None:  # the route says what is wrong with the token
            await self._app(scope, receive, send)
            return
        body = await _body(scope, receive, send)
        if body is None:
            return
        store = cast("IdempotencyStore", parts.stores.idempotency)
        use = _Use(store, _hash(b"key", whose.encode(), key.encode()), _Box(whose, key))
        moment, fingerprint = now(), _hash(scope["path"].encode(), scope["query_string"], body)
        attempt = await store.begin(
            use.id,
            fingerprint=fingerprint,
            seed=secrets.token_bytes(32),
            now=moment,
            lease=moment + LEASE,
            expires_at=moment + self._kept_for,
        )
        if attempt.mine:
            await self._run(scope, body, send, use, attempt)
        else:
            await _replay(send, use.box.open(_settled(attempt, fingerprint)))

    async def _run(self, scope: Scope, body: bytes, send: Send, use: _Use, attempt: Attempt) -> None:
        """Let the route answer, keep what it says, and only then say it: who has the answer can have it again."""
        caught = _Caught()
        try:
            with creation.seeded(attempt.seed, resumed=attempt.resumed):
                await self._app(scope, _given(body), caught.send)
        except BaseException:
            await use.failed()
            raise
        answer = caught.answer()
        if 200 <= answer.status < 300 and len(answer.body) <= MAX_ANSWER:
            await use.ended(answer)
        elif answer.status < 500 and not attempt.resumed:  # of one that goes on, the first may have created something
            await use.refused()
        else:
            await use.failed()
        for message in caught.messages:
            await send(message)


@dataclass(frozen=True, slots=True)
class _Use:
    """One key in use. What the store does not take is told in the log only: the route has answered, and that answer is true."""

    store: IdempotencyStore
    id: str
    box: _Box

    async def ended(self, answer: Answer) -> None:
        try:
            await self.store.finish(self.id, self.box.close(answer))
        except Unavailable as error:
            _log.warning("idempotency.not_kept", reason=error.reason)

    async def failed(self) -> None:
        try:
            await self.store.release(self.id)
        except Unavailable as error:
            _log.warning("idempotency.not_kept", reason=error.reason)

    async def refused(self) -> None:
        try:
            await self.store.drop(self.id)
        except Unavailable as error:
            _log.warning("idempotency.not_kept", reason=error.reason)


class _Box:
    """Encrypts answers with what only the client has."""

    def __init__(self, whose: str, key: str) -> None:
        self._aead = AESGCM(hashlib.sha256(b"pabal answer\0" + whose.encode() + b"\0" + key.encode()).digest())

    def close(self, answer: Answer) -> bytes:
        nonce = secrets.token_bytes(_NONCE)
        return nonce + self._aead.encrypt(nonce, _encode(answer), None)

    def open(self, box: bytes) -> Answer:
        try:
            return _decode(self._aead.decrypt(box[:_NONCE], box[_NONCE:], None))
        except (InvalidTag, msgspec.MsgspecError) as error:
            raise Unavailable("the answer that was kept can't be read") from error


@dataclass(slots=True)
class _Caught:
    """An answer on its way out, held back."""

    messages: list[Message] = field(default_factory=list)

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    def answer(self) -> Answer:
        start = next((m for m in self.messages if m["type"] == "http.response.start"), None)
        if start is None:
            return Answer(500, [], b"")
        headers = [(bytes(name), bytes(value)) for name, value in start.get("headers", []) if name.lower() in _KEPT]
        body = b"".join(m.get("body", b"") for m in self.messages if m["type"] == "http.response.body")
        return Answer(int(start["status"]), headers, body)


def _settled(attempt: Attempt, fingerprint: str) -> bytes:
    """The box with the answer.

    Raises:
        BadInput: `idempotency_key_reused`.
        Conflict: `idempotency_in_progress`.
    """
    if attempt.fingerprint != fingerprint:
        raise BadInput("this idempotency key came with another request before", code="idempotency_key_reused")
    if attempt.answer is None:
        raise Conflict("a request with this idempotency key is under way", code="idempotency_in_progress")
    return attempt.answer


async def _replay(send: Send, answer: Answer) -> None:
    length = (b"content-length", str(len(answer.body)).encode())
    headers = [*answer.headers, length, (REPLAYED, b"true")]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": answer.body})


def is_exempt(path: str) -> bool:
    """Whether a POST takes no key."""
    return path in EXEMPT or path.startswith(SIGN_INS_ELSEWHERE)


async def _whose(scope: Scope, authenticator: PolicyAuthenticator) -> str | None:
    """Whose a key is; None when they say who they are and can't prove it, or don't say it where they have to."""
    scheme, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
    if not scheme:
        if scope["path"] not in NAMELESS:
            return None
        client = scope.get("client")
        return f"address {client[0]}" if client else "nobody"
    if scheme.lower() != "bearer":
        return None
    try:
        return f"principal {(await authenticator.bearer(token)).id}"
    except Unauthenticated:
        return None


async def _body(scope: Scope, receive: Receive, send: Send) -> bytes | None:
    """The whole body; None when it is too large, which has been answered, or its sender has gone."""
    chunks: list[bytes] = []
    while True:
        try:
            message = await receive()
        except HTTPException:  # of `BodyLimit`
            await errors.problem(scope, status=413, code="too_large", detail="the body is too large")(
                scope, receive, send
            )
            return None
        if message["type"] != "http.request":
            return None
        chunks.append(message.get("body", b""))
        if not message.get("more_body", False):
            return b"".join(chunks)


def _given(body: bytes) -> Receive:
    left = [body]

    async def receive() -> MutableMapping[str, Any]:
        if left:
            return {"type": "http.request", "body": left.pop(), "more_body": False}
        return {"type": "http.disconnect"}

    return receive


def _hash(*parts: bytes) -> str:
    """SHA-256 of parts, told apart by their lengths; hex."""
    digest = hashlib.sha256()
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
