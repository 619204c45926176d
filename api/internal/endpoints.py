"""`/internal/mqtt/*`: one handler per hook of a broker, on an address of its own.

**Whatever goes wrong is a no, with status 200**: brokers take other statuses for "ask somebody else" (EMQX lets everybody do everything
then, unless its configuration says otherwise) or for a fault that they retry. So a wrong secret, a body that can't be read, a
store that does not answer and a bug of ours all look like a refusal; the log and the metric tell them apart.
"""

from __future__ import annotations

import hmac
import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import parse_qsl

import msgspec
import structlog
from prometheus_client import CollectorRegistry, Counter
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response

from api.internal import schemas
from api.internal.service import HookService
from chat.errors import Unavailable
from chat.models import PrincipalKind
from chat.permissions import Action

MAX_BODY = 128 * 1024
"""Bytes of a question: VerneMQ sends the payload of a publish along, in base64."""

MAX_PARAMETERS = 40
"""Fields of a form; RabbitMQ sends about ten."""

MAX_UNDER_WAY = 256
"""Questions that are worked on at once; more are refused, not queued."""

NOT_AUTHORISED = 0x87
FAILURE_3_1_1 = 0x80

_log = structlog.get_logger("api")
_T = TypeVar("_T", bound=msgspec.Struct)


class _BadRequestError(Exception):
    """The question can't be read, or comes from somebody who has no secret."""


@dataclass(frozen=True, slots=True)
class Answer:
    """What a broker is told: whether, and in its own words."""

    allowed: bool
    response: Response


@dataclass(frozen=True, slots=True)
class Hook:
    """One hook of a broker.

    Attributes:
        ask: reads the question and answers it.
        refuse: the broker's own way to say no.
    """

    broker: str
    name: str
    ask: Callable[[HookService, Request, bytes], Awaitable[Answer]]
    refuse: Callable[[], Response]


class Gate:
    """What stands before every hook: the secret, the bounds, and the refusal when anything goes wrong.

    Args:
        secret: what brokers show, as `Authorization: Bearer …`, or as `?secret=…` where they can't send headers.
        registry: where to count.
    """

    def __init__(self, service: HookService, secret: str, registry: CollectorRegistry) -> None:
        self._service = service
        self._secret = secret.encode()
        self._under_way = 0
        self._answers = Counter(
            "pabal_api_hooks", "Questions of other brokers", ("broker", "hook", "answer"), registry=registry
        )

    async def answer(self, hook: Hook, request: Request) -> Response:
        """One question; the answer never is an error."""
        self._under_way += 1
        try:
            if self._under_way > MAX_UNDER_WAY:
                return self._refused(hook, "failed", "too many questions at once")
            self._check(request)
            found = await hook.ask(self._service, request, await _body(request))
        except _BadRequestError as error:
            return self._refused(hook, "invalid", str(error))
        except Unavailable as error:
            return self._refused(hook, "failed", error.reason)
        except Exception:  # noqa: BLE001 - the last net: an error status would open the door
            _log.exception("hook.failed", broker=hook.broker, hook=hook.name)
            return self._refused(hook, "failed", "internal")
        finally:
            self._under_way -= 1
        self._answers.labels(hook.broker, hook.name, "allow" if found.allowed else "deny").inc()
        return found.response

    def _check(self, request: Request) -> None:
        scheme, _, shown = request.headers.get("authorization", "").partition(" ")
        offered = shown if scheme.lower() == "bearer" else request.query_params.get("secret", "")
        if not hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), self._secret):
            raise _BadRequestError("the secret is missing or wrong")

    def _refused(self, hook: Hook, answer: str, reason: str) -> Response:
        _log.warning("hook.refused", broker=hook.broker, hook=hook.name, reason=reason)
        self._answers.labels(hook.broker, hook.name, answer).inc()
        return hook.refuse()


async def _body(request: Request) -> bytes:
    if request.method != "POST":
        raise _BadRequestError("a question is a POST: passwords don't belong into addresses")
    body = bytearray()
    async for part in request.stream():
        body += part
        if len(body) > MAX_BODY:
            raise _BadRequestError(f"a question has at most {MAX_BODY} bytes")
    return bytes(body)


def _read(body: bytes, request: Request, kind: type[_T]) -> _T:
    """The question as a struct, strictly typed.

    Raises:
        _BadRequestError: it is none, or tells a field twice (two readers would choose differently).
    """
    try:
        if request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            pairs = parse_qsl(
                body.decode(), keep_blank_values=True, max_num_fields=MAX_PARAMETERS, errors="strict", separator="&"
            )
        else:
            pairs = json.loads(body, object_pairs_hook=_Pairs)
            if not isinstance(pairs, _Pairs):
                raise _BadRequestError("a question is an object")
        if len({name for name, _ in pairs}) != len(pairs):
            raise _BadRequestError("a field comes twice")
        return msgspec.convert({name: _plain(value) for name, value in pairs}, kind)
    except (ValueError, RecursionError, msgspec.ValidationError) as error:
        raise _BadRequestError(f"the question can't be read: {type(error).__name__}") from None


class _Pairs(list[tuple[str, Any]]):
    """A JSON object as it was written."""


def _plain(value: Any) -> Any:
    if isinstance(value, _Pairs):
        return {name: _plain(inner) for name, inner in value}
    return [_plain(inner) for inner in value] if isinstance(value, list) else value


# ---- EMQX


def _emqx(allowed: bool, **more: Any) -> Answer:
    return Answer(allowed, JSONResponse({"result": "allow" if allowed else "deny", **more}))


async def _emqx_authn(service: HookService, request: Request, body: bytes) -> Answer:
    asked = _read(body, request, schemas.EmqxLogin)
    found = await service.login(asked.username, asked.password, asked.clientid)
    if found is None:
        return _emqx(False)
    attributes = {"client_attrs": {"sid": found.sid}} if found.kind is PrincipalKind.USER else {}
    return _emqx(True, is_superuser=False, **attributes)


async def _emqx_authz(service: HookService, request: Request, body: bytes) -> Answer:
    asked = _read(body, request, schemas.EmqxAction)
    sid = "" if asked.sid in {"undefined", "${client_attrs.sid}"} else asked.sid
    return _emqx(await service.may(asked.username, Action(asked.action), asked.topic, sid=sid))


# ---- RabbitMQ


def _rabbit(allowed: bool) -> Answer:
    return Answer(allowed, PlainTextResponse("allow" if allowed else "deny"))


async def _rabbit_user(service: HookService, request: Request, body: bytes) -> Answer:
    asked = _read(body, request, schemas.RabbitUser)
    return _rabbit(await service.login(asked.username, asked.password, asked.client_id) is not None)


async def _rabbit_vhost(service: HookService, request: Request, body: bytes) -> Answer:
    asked = _read(body, request, schemas.RabbitVhost)
    return _rabbit(await service.may_enter(asked.username, asked.vhost))


async def _rabbit_resource(service: HookService, request: Request, body: bytes) -> Answer:
    asked = _read(body, request, schemas.RabbitResource)
    return _rabbit(await service.may_use(asked.username, asked.vhost, asked.resource, asked.name, asked.permission))


async def _rabbit_topic(service: HookService, request: Request, body: bytes) -> Answer:
    asked = _read(body, request, schemas.RabbitTopic)
    return _rabbit(
        await service.may_route(asked.username, asked.vhost, asked.name, asked.permission, asked.routing_key)
    )


# ---- VerneMQ


def _verne(allowed: bool, **more: Any) -> Answer:
    return Answer(allowed, JSONResponse({"result": "ok" if allowed else {"error": "not_allowed"}, **more}))


async def _verne_hook(service: HookService, request: Request, body: bytes) -> Answer:
    match request.headers.get("vernemq-hook", ""):
        case "auth_on_register" | "auth_on_register_m5":
            login = _read(body, request, schemas.VerneRegister)
            return _verne(await service.login(login.username, login.password, login.client_id) is not None)
        case "auth_on_publish" | "auth_on_publish_m5":
            publish = _read(body, request, schemas.VernePublish)
            return _verne(await service.may(publish.username, Action.PUBLISH, publish.topic))
        case "auth_on_subscribe":
            return await _verne_subscribe(service, _read(body, request, schemas.VerneSubscribe), v5=False)
        case "auth_on_subscribe_m5":
            return await _verne_subscribe(service, _read(body, request, schemas.VerneSubscribe), v5=True)
        case _:
            raise _BadRequestError("no hook that is answered here")


async def _verne_subscribe(service: HookService, asked: schemas.VerneSubscribe, *, v5: bool) -> Answer:
    """Each filter for itself: what is refused gets the reason code of a SUBACK in place of its QoS."""
    refusal = NOT_AUTHORISED if v5 else FAILURE_3_1_1
    topics = []
    for wish in asked.topics:
        allowed = await service.may(asked.username, Action.SUBSCRIBE, wish.topic)
        topics.append({"topic": wish.topic, "qos": wish.qos if allowed else refusal})
    refused = any(topic["qos"] == refusal for topic in topics)
    if not topics or all(topic["qos"] == refusal for topic in topics):
        return _verne(False)
    if not refused:
        return _verne(True)
    return _verne(True, modifiers={"topics": topics}) if v5 else _verne(True, topics=topics)


async def _nothing(service: HookService, request: Request, body: bytes) -> Answer:
    """What no broker asks."""
    del service, request, body
    raise _BadRequestError("no hook that is answered here")


def _emqx_no() -> Response:
    return _emqx(False).response


def _rabbit_no() -> Response:
    return _rabbit(False).response


def _verne_no() -> Response:
    return _verne(False).response


HOOKS = {
    "/internal/mqtt/authn": Hook("emqx", "authn", _emqx_authn, _emqx_no),
    "/internal/mqtt/authz": Hook("emqx", "authz", _emqx_authz, _emqx_no),
    "/internal/mqtt/rabbitmq/user": Hook("rabbitmq", "user", _rabbit_user, _rabbit_no),
    "/internal/mqtt/rabbitmq/vhost": Hook("rabbitmq", "vhost", _rabbit_vhost, _rabbit_no),
    "/internal/mqtt/rabbitmq/resource": Hook("rabbitmq", "resource", _rabbit_resource, _rabbit_no),
    "/internal/mqtt/rabbitmq/topic": Hook("rabbitmq", "topic", _rabbit_topic, _rabbit_no),
    "/internal/mqtt/vernemq": Hook("vernemq", "webhook", _verne_hook, _verne_no),
}
OTHERWISE = Hook("other", "none", _nothing, _emqx_no)
"""Any other path: a mistake in a broker's configuration must not open it."""
