"""A stand-in for Firebase Cloud Messaging (HTTP v1) and for a push service of browsers on one machine, for `make up` and for tests over
real HTTP.

    python -m stack.fcm_emulator --bind 127.0.0.1:8099 --state var/fcm

It writes `service-account.json` (mode 0600) into the state directory: a key of its own, with the token endpoint pointing here.
Whoever is configured with that file and with this address as the endpoint pushes for real, and nothing leaves the machine.

| request | what it does |
|---|---|
| `POST /token` | OAuth 2.0 JWT bearer grant (RFC 7523), signature and claims checked: an access token for an hour |
| `POST /v1/projects/{project}/messages:send` | takes a message, or answers as the rules say, in FCM's shapes |
| `POST /control/rules` | `{"token": "t1", "times": 3, "status": 429, "headers": {"Retry-After": "7"}, "delay": 0.5, "hang": false, "body": null}`: the next 3 answers for t1 (for any token without `token`; with `"endpoint": "token"` those of `/token`, with `"endpoint": "web"` those for a browser) |
| `DELETE /control/rules` | forget the rules |
| `GET /control/messages?token=` | `{"messages": [{"token", "status", "name", "message", "peer", "at", "answered_at"}]}`, newest last, refused ones too |
| `GET /control/verdict` | how whoever sends has kept the providers' rules (`stack.push_record.Verdict`) |
| `DELETE /control/messages` | forget the messages and the verdict |
| `DELETE /control/access-tokens` | let every access token expire |
| `GET /healthz`, `GET /` | it is up; what it is |
| `/push/…`, `/control/subscriptions…` | the push service of browsers (`stack.web_push_emulator`) |

State other than the key is in memory and bounded.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import secrets
import signal
import sys
import time
from collections import deque
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any, Literal

import uvicorn
from fastapi import FastAPI, Form, Request, Response
from fastapi.responses import JSONResponse
from joserfc import jwt
from joserfc.errors import JoseError
from joserfc.jwk import RSAKey
from pydantic import BaseModel, ConfigDict, Field

from stack.ports import Address
from stack.push_record import Received, Record
from stack.web_push_emulator import NotTaken, WebPushService

PROJECT = "pabal-local"
CLIENT_EMAIL = f"pabal@{PROJECT}.iam.gserviceaccount.com"
SCOPE = "https://www.googleapis.com/auth/firebase.messaging"
GOOGLE_AUDIENCE = "https://oauth2.googleapis.com/token"
GRANT_TYPE = "urn:ietf:params:oauth:grant-type:jwt-bearer"
ACCESS_TOKEN_SECONDS = 3600

MAX_RULES = 1_000
MAX_HANG_SECONDS = 300.0
MAX_MESSAGE_BYTES = 4_096
"""FCM's own bound of what a message carries (it counts a little differently)."""

# status: (google.rpc.Code name, FCM's errorCode or None, message), as FCM documents and sends them.
_ERRORS: Mapping[int, tuple[str, str | None, str]] = {
    400: ("INVALID_ARGUMENT", "INVALID_ARGUMENT", "The registration token is not a valid FCM registration token"),
    401: ("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR", "Request had invalid authentication credentials."),
    403: ("PERMISSION_DENIED", "SENDER_ID_MISMATCH", "SenderId mismatch"),
    404: ("NOT_FOUND", "UNREGISTERED", "Requested entity was not found."),
    429: ("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED", "Quota exceeded."),
    500: ("INTERNAL", "INTERNAL", "Internal error encountered."),
    503: ("UNAVAILABLE", "UNAVAILABLE", "The service is currently unavailable."),
}


class Rule(BaseModel):
    """How the next answers are to be."""

    model_config = ConfigDict(extra="forbid")

    token: str | None = None
    endpoint: Literal["send", "token", "web"] = "send"
    times: int = Field(default=1, ge=1, le=1_000_000)
    status: int = Field(default=200, ge=200, le=599)
    headers: dict[str, str] = {}
    delay: float = Field(default=0.0, ge=0.0, le=MAX_HANG_SECONDS)
    hang: bool = False
    body: str | None = None
    """Sent as it is instead of FCM's shape (an HTML page of a proxy, say)."""


class Wish(BaseModel):
    """A browser's wish to subscribe."""

    model_config = ConfigDict(extra="forbid")

    key: str = Field(pattern=r"^[A-Za-z0-9_-]{87}$")


@dataclass(slots=True)
class Emulator:
    """The state: who may push, what is to be answered, what came."""

    key: RSAKey
    token_uri: str
    web_push: WebPushService
    rules: deque[Rule] = field(default_factory=lambda: deque(maxlen=MAX_RULES))
    record: Record = field(default_factory=Record)
    access_tokens: dict[str, float] = field(default_factory=dict)

    def rule_for(self, endpoint: str, token: str | None) -> Rule | None:
        """Use up one answer of the first rule that fits; a rule for the token itself goes before those for all."""
        fitting = [rule for rule in self.rules if rule.endpoint == endpoint and rule.token in (None, token)]
        if not fitting:
            return None
        rule = min(fitting, key=lambda rule: rule.token is None)
        rule.times -= 1
        if rule.times == 0:
            self.rules = deque((other for other in self.rules if other is not rule), maxlen=MAX_RULES)
        return rule

    def grant(self, assertion: str) -> str:
        """An access token for a signed assertion.

        Raises:
            JoseError, ValueError: the assertion is not this account's, not for this endpoint, or not valid now.
        """
        token = jwt.decode(assertion, self.key, algorithms=["RS256"])
        jwt.JWTClaimsRegistry(
            iss={"essential": True, "value": CLIENT_EMAIL},
            # google-auth always names Google's own endpoint, wherever the account's `token_uri` points.
            aud={"essential": True, "values": [self.token_uri, GOOGLE_AUDIENCE]},
            exp={"essential": True},
            iat={"essential": True},
            scope={"essential": True, "value": SCOPE},
        ).validate(token.claims)
        now = time.time()
        self.access_tokens = {known: until for known, until in self.access_tokens.items() if until > now}
        access_token = "ya29.local-" + secrets.token_urlsafe(32)
        self.access_tokens[access_token] = now + ACCESS_TOKEN_SECONDS
        return access_token

    def authorised(self, authorization: str | None) -> bool:
        """Whether the header brings an access token that is valid now."""
        scheme, _, token = (authorization or "").partition(" ")
        return scheme == "Bearer" and self.access_tokens.get(token, 0.0) > time.time()


def service_account(state: Path, base_url: str) -> dict[str, str]:
    """The account in `state`, made at the first start; its token endpoint follows the address of this start."""
    path = state / "service-account.json"
    if path.is_file():
        account: dict[str, str] = json.loads(path.read_text())
    else:
        key = RSAKey.generate_key(2048, private=True)
        account = {
            "type": "service_account",
            "project_id": PROJECT,
            "private_key_id": secrets.token_hex(20),
            "private_key": key.as_pem(private=True).decode(),
            "client_email": CLIENT_EMAIL,
            "client_id": "100000000000000000001",
            "auth_uri": f"{base_url}/auth",
        }
    account["token_uri"] = f"{base_url}/token"
    state.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".new")
    fresh.unlink(missing_ok=True)
    fresh.touch(mode=0o600)
    fresh.write_text(json.dumps(account, indent=2) + "\n")
    fresh.replace(path)
    return account


def create_app(emulator: Emulator) -> FastAPI:
    """The HTTP face of an emulator."""
    app = FastAPI(title="FCM emulator", docs_url=None, redoc_url=None, openapi_url=None)
    _add_fcm(app, emulator)
    _add_web_push(app, emulator)
    _add_control(app, emulator)
    return app


def _add_fcm(app: FastAPI, emulator: Emulator) -> None:
    @app.post("/token")
    async def token(grant_type: Annotated[str, Form()], assertion: Annotated[str, Form()]) -> Response:
        rule = emulator.rule_for("token", None)
        if rule is not None and (programmed := await _programmed(rule)) is not None:
            return programmed
        if grant_type != GRANT_TYPE:
            return JSONResponse({"error": "unsupported_grant_type"}, 400)
        try:
            access_token = emulator.grant(assertion)
        except (JoseError, ValueError) as error:
            return JSONResponse({"error": "invalid_grant", "error_description": type(error).__name__}, 400)
        answer = {"access_token": access_token, "token_type": "Bearer", "expires_in": ACCESS_TOKEN_SECONDS}
        return JSONResponse(answer)

    @app.post("/v1/projects/{project}/messages:send")
    async def send(project: str, request: Request) -> Response:
        at = time.time()
        if not emulator.authorised(request.headers.get("authorization")):
            return _error(401)
        if project != PROJECT:
            return _error(403, "PERMISSION_DENIED", None)
        raw = await request.body()
        message, problem = _read_message(raw)
        if message is None:
            return _error(400, message=problem)
        rule = emulator.rule_for("send", message["token"])
        answer = await _programmed(rule) if rule is not None else None
        name = f"projects/{project}/messages/{secrets.token_hex(10)}"
        if answer is None:
            answer = JSONResponse({"name": name})
        taken = name if answer.status_code == 200 else None
        _keep(
            emulator.record,
            Received(message["token"], answer.status_code, taken, message, _peer(request), at, 0.0),
            answer,
        )
        return answer


def _add_web_push(app: FastAPI, emulator: Emulator) -> None:
    service = emulator.web_push

    @app.post("/control/subscriptions", status_code=201)
    async def subscribe(wish: Wish) -> dict[str, Any]:
        return service.subscribe(wish.key)

    @app.delete("/control/subscriptions/{browser}", status_code=204)
    async def unsubscribe(browser: str) -> None:
        service.unsubscribe(browser)

    @app.post("/push/{browser}")
    async def push(browser: str, request: Request) -> Response:
        at, body, message = time.time(), await request.body(), {}
        rule = emulator.rule_for("web", browser)
        answer = await _programmed(rule) if rule is not None else None
        try:
            message = service.take(browser, request.headers, body)
            answer = answer or Response(status_code=201, headers={"Location": f"{service.base_url}/message/{at}"})
        except NotTaken as refusal:
            answer = answer or JSONResponse({"message": str(refusal)}, refusal.status)
        message["headers"] = {name: request.headers.get(name) for name in ("ttl", "topic", "urgency")}
        _keep(emulator.record, Received(browser, answer.status_code, None, message, _peer(request), at, 0.0), answer)
        return answer


def _peer(request: Request) -> str:
    return f"{request.client.host}:{request.client.port}" if request.client else "?"


def _keep(record: Record, got: Received, answer: Response) -> None:
    got.answered_at = time.time()
    record.add(got, answer.headers.get("Retry-After"))


def _add_control(app: FastAPI, emulator: Emulator) -> None:
    @app.get("/")
    async def about() -> dict[str, Any]:
        return {
            "what": "FCM emulator of a local Pabal stack: pushes end here and nothing leaves the machine",
            "project": PROJECT,
            "messages": len(emulator.record.messages),
            "rules": len(emulator.rules),
            "see": ["/control/messages", "/control/rules", "/healthz"],
        }

    @app.get("/healthz")
    async def healthz() -> dict[str, bool]:
        return {"fcm": True}

    @app.post("/control/rules", status_code=201)
    async def add_rule(rule: Rule) -> Rule:
        emulator.rules.append(rule)
        return rule

    @app.delete("/control/rules", status_code=204)
    async def drop_rules() -> None:
        emulator.rules.clear()

    @app.get("/control/messages")
    async def messages(token: str | None = None) -> dict[str, list[dict[str, Any]]]:
        return {"messages": [asdict(got) for got in emulator.record.messages if token in (None, got.token)]}

    @app.get("/control/verdict")
    async def verdict() -> dict[str, int]:
        return asdict(emulator.record.verdict)

    @app.delete("/control/messages", status_code=204)
    async def drop_messages() -> None:
        emulator.record.forget()

    @app.delete("/control/access-tokens", status_code=204)
    async def drop_access_tokens() -> None:
        emulator.access_tokens.clear()


def _read_message(raw: bytes) -> tuple[dict[str, Any] | None, str]:
    """The `message` of a request, or what is wrong with it."""
    try:
        message = json.loads(raw)["message"]
        token = message["token"]
        data = message.get("data", {})
        well_formed = isinstance(token, str) and token and all(isinstance(value, str) for value in data.values())
    except (ValueError, KeyError, TypeError, AttributeError):
        return None, "Request contains an invalid argument."
    if not well_formed:
        return None, "A message has a token, and data with string values only."
    if len(raw) > 2 * MAX_MESSAGE_BYTES or len(json.dumps(message, ensure_ascii=False).encode()) > MAX_MESSAGE_BYTES:
        return None, "Android message is too big"
    return message, ""


async def _programmed(rule: Rule) -> Response | None:
    """The answer that a rule asks for; None for a plain success (after its delay)."""
    await asyncio.sleep(MAX_HANG_SECONDS if rule.hang else rule.delay)
    if rule.body is not None:
        return Response(rule.body, rule.status, rule.headers)
    if rule.status == 200:
        return None
    answer = _error(rule.status)
    answer.headers.update(rule.headers)
    return answer


def _error(status: int, name: str | None = None, code: str | None = "", message: str = "") -> Response:
    """FCM's error body: google.rpc.Status as JSON with an FcmError among its details."""
    default_name, default_code, default_message = _ERRORS.get(status, ("UNKNOWN", None, "Unknown error."))
    code = default_code if code == "" else code
    error: dict[str, Any] = {"code": status, "message": message or default_message, "status": name or default_name}
    if code is not None:
        error["details"] = [{"@type": "type.googleapis.com/google.firebase.fcm.v1.FcmError", "errorCode": code}]
    return JSONResponse({"error": error}, status)


def main(argv: list[str] | None = None) -> int:
    """Serve until SIGTERM or Ctrl-C."""
    parser = argparse.ArgumentParser(prog="python -m stack.fcm_emulator", description="A local stand-in for FCM.")
    parser.add_argument("--bind", required=True, type=Address.parse, help="host:port")
    parser.add_argument("--state", required=True, type=Path, help="directory for service-account.json")
    arguments = parser.parse_args(argv)
    address: Address = arguments.bind
    base_url = f"http://{address.reachable}"
    account = service_account(arguments.state, base_url)
    key = RSAKey.import_key(account["private_key"])
    emulator = Emulator(key, account["token_uri"], WebPushService(base_url))
    # uvicorn ends in order on these and then raises them again: taken here, so that an ordered end exits with 0.
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda *_: None)
    uvicorn.run(
        create_app(emulator),
        host=address.host,
        port=address.port,
        log_level="warning",
        timeout_graceful_shutdown=1,
        limit_concurrency=1_000,
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
