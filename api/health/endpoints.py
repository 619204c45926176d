"""`/healthz`, `/metrics` and `/.well-known/jwks.json`: for operators and other services, without a token."""

from __future__ import annotations

import json

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest

from adapters.vitals import Vitals
from api.deps import PartsDep

router = APIRouter(tags=["operations"])

_HEALTH = {
    "application/json": {
        "schema": {"type": "object", "additionalProperties": {"type": "boolean"}},
        "example": {"mongo": True, "valkey": True, "link": True},
    }
}
_JWKS = {
    "application/json": {
        "schema": {
            "type": "object",
            "required": ["keys"],
            "properties": {"keys": {"type": "array", "items": {"type": "object"}}},
        },
        "example": {"keys": [{"kty": "OKP", "crv": "Ed25519", "kid": "…", "use": "sig", "alg": "EdDSA", "x": "…"}]},
    }
}


@router.get(
    "/healthz",
    summary="Whether everything that is needed answers",
    responses={
        200: {"description": "All of it", "content": _HEALTH},
        503: {"description": "Not all of it", "content": _HEALTH},
    },
)
async def healthz(parts: PartsDep) -> Response:
    """Each part by name."""
    found = await parts.health()
    return Response(json.dumps(found), 200 if all(found.values()) else 503, media_type="application/json")


@router.get(
    "/metrics",
    response_class=PlainTextResponse,
    summary="Figures for Prometheus",
    responses={
        200: {"description": "Text exposition format", "content": {"text/plain": {"schema": {"type": "string"}}}}
    },
)
async def metrics(request: Request, parts: PartsDep) -> Response:
    """Of this process."""
    registry: CollectorRegistry = request.app.state.registry
    vitals: Vitals = request.app.state.vitals
    vitals.show(await parts.health())
    return Response(generate_latest(registry), media_type=CONTENT_TYPE_LATEST)


@router.get(
    "/.well-known/jwks.json",
    summary="The keys that sign access tokens",
    responses={200: {"description": "A JWKS (RFC 7517)", "content": _JWKS}},
)
async def jwks(parts: PartsDep) -> Response:
    """Public halves only. It may be cached for five minutes."""
    document = json.dumps(parts.jwks.document())
    return Response(document, media_type="application/json", headers={"Cache-Control": "public, max-age=300"})
