"""The admin interface: who is connected, what they subscribe to, and out with them. JSON over HTTP, beside the metrics.

| route | |
|---|---|
| `GET /admin/clients?state=&prefix=&cursor=&limit=` | sessions in the order of their client ids; `state` is `connected` (default), `away` or `all` |
| `GET /admin/clients/{client id}` | one of them, with its windows and subscriptions |
| `DELETE /admin/clients/{client id}?session=` | disconnect it (0x98 Administrative action); `session=drop` forgets its session too |
| `GET /admin/subscriptions?filter=&client=&cursor=&limit=` | subscriptions, of one exact filter or one client if named |

A request shows the admin secret as `Authorization: Bearer …`. Lists answer `{"items": […], "next": cursor or null}`, errors are
problem details (RFC 9457) as the api's. Nothing here shows a payload, a password, or the text of a will.
"""

from __future__ import annotations

import heapq
import hmac
import json
from collections.abc import Callable
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote

import structlog

from adapters.metrics_http import Answer, Request
from broker.broker import Broker
from broker.client_view import subscription_view, summary, whole
from chat.errors import BadInput, NotFound, PabalError, Unauthenticated, Unavailable
from mqtt.reasons import Reason
from mqtt.session import Session

log = structlog.get_logger("broker")

PREFIX = "/admin/"
MAX_LIMIT = 1_000
DEFAULT_LIMIT = 100
MIN_SECRET_BYTES = 32
"""A shorter secret could be guessed, so it opens nothing."""
_SECRET_READ = 4_096

Query = dict[str, str]


class AdminSecret:
    """The secret that opens the interface. Its file is read for each request, so that a new one holds at once.

    Args:
        path: the file; white space around the secret does not count.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def proves(self, header: str) -> bool:
        """Whether an `Authorization` header shows it.

        Raises:
            Unavailable: the file can't be read, or holds no secret that is long enough.
        """
        try:
            with self._path.open("rb") as file:
                secret = file.read(_SECRET_READ).strip()
        except OSError as error:
            log.error("admin.unavailable", reason=type(error).__name__)  # noqa: TRY400 - the file, not the stack, is at fault
            raise Unavailable("the broker can't read its admin secret") from None
        if len(secret) < MIN_SECRET_BYTES:
            log.error("admin.unavailable", reason="the secret is too short")
            raise Unavailable("the broker's admin secret is too short")
        scheme, _, token = header.partition(" ")
        return hmac.compare_digest(token.strip().encode(), secret) and scheme.lower() == "bearer"


class Admin:
    """Answers what stands in the table above.

    Args:
        broker: what it shows.
        secret: who may see it.
    """

    def __init__(self, broker: Broker, secret: AdminSecret) -> None:
        self._broker = broker
        self._core = broker.core
        self._secret = secret

    def __call__(self, request: Request) -> Answer:
        """The answer to one request."""
        try:
            if not self._secret.proves(request.headers.get("authorization", "")):
                raise Unauthenticated("the admin secret is wanted as `Authorization: Bearer …`")
            return _json(self._route(request))
        except PabalError as error:
            return _problem(error, request.path)

    def _route(self, request: Request) -> Any:
        kind, slash, name = request.path.removeprefix(PREFIX).partition("/")
        query = _query(request.query)
        match request.method, kind, bool(slash):
            case "GET", "clients", False:
                return self._clients(query)
            case "GET", "subscriptions", False:
                return self._subscriptions(query)
            case "GET", "clients", True:
                return whole(self._core, self._session(unquote(name)))
            case "DELETE", "clients", True:
                return self._kick(self._session(unquote(name)), query)
            case _:
                raise NotFound(f"there is no {request.method} {request.path}", code="unknown_path")

    def _session(self, client_id: str) -> Session:
        session = self._core.sessions.get(client_id)
        if session is None:
            raise NotFound("there is no session of this client id", code="not_found")
        return session

    # ---- lists

    def _clients(self, query: Query) -> Any:
        limit, after, prefix = _limit(query), query.get("cursor", ""), query.get("prefix", "")
        wanted = _state(query.get("state", "connected"))
        # The smallest of those behind the cursor: one pass over the ids, not a sort of all of them for each page.
        page = heapq.nsmallest(
            limit + 1,
            (
                session.client_id
                for session in self._core.sessions.values()
                if session.client_id > after and session.client_id.startswith(prefix) and wanted(session)
            ),
        )
        items = [summary(self._core, self._core.sessions[client_id]) for client_id in page[:limit]]
        return {"items": items, "next": page[limit - 1] if len(page) > limit else None}

    def _subscriptions(self, query: Query) -> Any:
        limit, text, client = _limit(query), query.get("filter"), query.get("client")
        after = _position(query.get("cursor", ""))
        chosen = [self._session(client)] if client is not None else self._core.sessions.values()
        ids = heapq.nsmallest(
            limit + 2,  # one may be behind the cursor with all it has, one tells that there is more
            (s.client_id for s in chosen if s.client_id >= after[0] and _has(s, text)),
        )
        page: list[tuple[str, str]] = []
        for client_id in ids:
            held = self._core.sessions[client_id].subscriptions
            page += [(client_id, each) for each in ([text] if text is not None else sorted(held))]
            page = [pair for pair in page if pair > after]
            if len(page) > limit:
                break
        items = [
            {"client_id": client_id, **subscription_view(each, self._core.sessions[client_id].subscriptions[each])}
            for client_id, each in page[:limit]
        ]
        return {"items": items, "next": json.dumps(page[limit - 1]) if len(page) > limit else None}

    # ---- out

    def _kick(self, session: Session, query: Query) -> Any:
        drop = query.get("session", "keep")
        if drop not in ("keep", "drop"):
            raise BadInput("session is keep or drop")
        connection = self._core.connections.get(session.client_id)
        if connection is not None:
            connection.close(Reason.ADMINISTRATIVE_ACTION, "disconnected by an administrator")
        if drop == "drop":
            self._core.drop_session(session)
        kept = self._core.sessions.get(session.client_id) is session
        log.info("client.kicked", client_id=session.client_id, connected=connection is not None, session_kept=kept)
        return {"client_id": session.client_id, "disconnected": connection is not None, "session_kept": kept}


def _has(session: Session, text: str | None) -> bool:
    return bool(session.subscriptions) if text is None else text in session.subscriptions


def _state(name: str) -> Callable[[Session], bool]:
    match name:
        case "connected":
            return lambda session: session.connected
        case "away":
            return lambda session: not session.connected
        case "all":
            return lambda _session: True
    raise BadInput("state is connected, away or all")


def _query(text: str) -> Query:
    try:
        return {name: values[-1] for name, values in parse_qs(text, keep_blank_values=True, max_num_fields=16).items()}
    except ValueError:
        raise BadInput("the query can't be read") from None


def _limit(query: Query) -> int:
    text = query.get("limit", str(DEFAULT_LIMIT))
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and 1 <= int(text) <= MAX_LIMIT):
        raise BadInput(f"limit is 1 to {MAX_LIMIT}")
    return int(text)


def _position(cursor: str) -> tuple[str, str]:
    """The client id and filter behind which a page begins."""
    if not cursor:
        return "", ""
    try:
        match json.loads(cursor):
            case [str(client_id), str(text)]:
                return client_id, text
    except (ValueError, RecursionError):
        pass
    raise BadInput("the cursor is none that was handed out", code="invalid_cursor")


def _json(value: Any) -> Answer:
    return Answer(200, json.dumps(value, ensure_ascii=False).encode(), "application/json")


def _problem(error: PabalError, path: str) -> Answer:
    """Problem details, as the api renders them."""
    body = {
        "type": f"urn:pabal:problem:{error.code}",
        "title": error.code.replace("_", " ").capitalize(),
        "status": error.status,
        "detail": error.reason,
        "code": error.code,
        "instance": quote(path, safe="/%"),
    }
    headers = {"WWW-Authenticate": "Bearer"} if error.status == HTTPStatus.UNAUTHORIZED else {}
    return Answer(error.status, json.dumps(body, ensure_ascii=False).encode(), "application/problem+json", headers)
