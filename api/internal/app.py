"""The application of the auth hooks: it listens on its own address and has nothing in common with the public routes but the parts."""

from __future__ import annotations

from pathlib import Path

from prometheus_client import CollectorRegistry
from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from api.deps import Parts
from api.internal.endpoints import HOOKS, OTHERWISE, Gate
from api.internal.service import HookService
from chat.errors import Unavailable

MIN_SECRET = 16
"""Characters of the secret, at least. `openssl rand -hex 32` makes a good one."""


def read_secret(file: Path | None) -> str:
    """What brokers have to show.

    Raises:
        Unavailable: there is no such file, or nothing in it that could be a secret.
    """
    try:
        secret = file.read_text("ascii").strip() if file is not None else ""
    except (OSError, ValueError) as error:
        raise Unavailable(f"the secret of the auth hooks {file} can't be read: {type(error).__name__}") from error
    if len(secret) < MIN_SECRET:
        raise Unavailable(f"PABAL_API_HOOKS_SECRET_FILE must name a file with at least {MIN_SECRET} characters")
    return secret


def create_hooks(parts: Parts, registry: CollectorRegistry) -> ASGIApp:
    """The ASGI application.

    Args:
        parts: of the process; opened and closed by somebody else.
        registry: of the process's metrics.

    Raises:
        Unavailable: there is no secret.
    """
    settings = parts.settings
    service = HookService(
        authenticator=parts.authenticator,
        chats=parts.stores.chats,
        devices=parts.stores.devices,
        grants=parts.stores.grants,
        blocks=parts.stores.blocks,
        vhost=settings.api_hooks_vhost,
    )
    gate = Gate(service, read_secret(settings.api_hooks_secret_file), registry)

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        response = await gate.answer(HOOKS.get(scope["path"], OTHERWISE), Request(scope, receive))
        response.headers["Cache-Control"] = "no-store"  # VerneMQ would keep an answer beyond the right
        await response(scope, receive, send)

    return app
