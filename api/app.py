"""The composition root of the api: the only place that constructs its adapters."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Mapping
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import httpx
import structlog
from fastapi import APIRouter, FastAPI
from prometheus_client import CollectorRegistry
from pydantic import TypeAdapter, ValidationError

from adapters.authenticator import PolicyAuthenticator, ServiceSecrets
from adapters.authority import Authority
from adapters.broker_admin import BrokerAdmin, HttpProcesses
from adapters.jobs import CeleryJobQueue
from adapters.memory.ratelimit import MemoryRateLimiter
from adapters.mongo import open_stores
from adapters.mqtt_link import MqttLink, instance_name
from adapters.oidc import OidcProvider, ProviderConfig
from adapters.sealing import Seal
from adapters.stores import Stores
from adapters.tokens import Jwks, TokenIssuer, TokenVerifier
from adapters.tracing import open_tracer
from adapters.valkey import Valkey, ValkeyInvalidations, ValkeyRateLimiter, ValkeyRecents, connect, healthy
from adapters.vapid import VapidKeys
from adapters.vitals import Vitals
from api import errors, openapi
from api.admin.routers import ROUTERS as ADMIN
from api.auth.endpoints import router as auth
from api.auth.passwords import Passwords
from api.blocks.endpoints import router as blocks
from api.chats.endpoints import router as chats
from api.contacts.endpoints import router as contacts
from api.dead_letters.endpoints import router as dead_letters
from api.deps import Parts
from api.devices.endpoints import router as devices
from api.events import SecurityEvents, keep_writing
from api.health.endpoints import router as health
from api.idempotency import Idempotency
from api.invitations.endpoints import router as invitations
from api.limits import Limits, Requests, Rule
from api.me.endpoints import router as me
from api.members.announce import Announcer, keep_sweeping
from api.members.endpoints import router as members
from api.messages.endpoints import router as messages
from api.messages.schemas import HistoryItem
from api.middleware import BodyLimit, RequestContext, RequestMetrics, cors
from api.oidc.endpoints import router as oidc
from api.push_preferences.endpoints import router as push_preferences
from api.push_tokens.endpoints import router as push_tokens
from api.second_factor.endpoints import router as second_factor
from api.service_accounts.endpoints import router as service_accounts
from api.sessions.endpoints import router as sessions
from api.settings import Settings, explain
from api.sync.endpoints import router as sync
from api.users.endpoints import router as users
from api.web_push.endpoints import router as web_push
from chat.admin import Connections, Processes
from chat.errors import Unavailable
from chat.history import Recents
from chat.ports import Invalidations, JobQueue, Link, RateLimiter

PRINCIPAL = "svc-api"

# FastAPI looks through them one after the other, and twice: what is asked most comes first. (No path of one is also one of another's.)
ROUTERS: tuple[APIRouter, ...] = (
    messages,
    chats,
    sync,
    auth,
    oidc,
    sessions,
    second_factor,
    me,
    users,
    members,
    contacts,
    blocks,
    invitations,
    devices,
    push_preferences,
    push_tokens,
    web_push,
    dead_letters,
    *ADMIN,
    service_accounts,
    health,
)

OpenParts = Callable[[Settings], AbstractAsyncContextManager[Parts]]

_log = structlog.get_logger("api")


def create_app(settings: Settings, *, opened: OpenParts | None = None) -> FastAPI:
    """The ASGI application.

    Args:
        settings: of this process.
        opened: opens the parts for as long as the application lives; the real ones when omitted (tests bring twins).

    Raises:
        TracesImpossible: traces are asked for and can't be recorded.
    """
    opens = opened or open_parts
    registry = CollectorRegistry()
    tracer = open_tracer(settings, "api", registry)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with opens(settings) as parts:
            app.state.parts = parts
            yield
        if tracer is not None:
            await asyncio.to_thread(tracer.close)

    app = FastAPI(
        title="Pabal",
        version=version("pabal"),
        summary="Chat and IoT messaging: accounts, chats, history, devices",
        lifespan=lifespan,
        docs_url=None,  # its page loads scripts from another host
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.registry = registry
    app.state.vitals = Vitals(app.state.registry)
    for router in ROUTERS:
        app.include_router(router)
    errors.install(app, ROUTERS)
    openapi.install(app)
    app.add_middleware(Idempotency, seconds=settings.api_idempotency_seconds)
    app.add_middleware(BodyLimit, max_bytes=settings.api_max_body_bytes)
    cors(app, settings.api_cors_origins)
    # Added last, so it stands outermost.
    metrics = RequestMetrics(app.state.registry)
    app.add_middleware(RequestContext, metrics=metrics, max_requests=settings.api_max_requests, tracer=tracer)
    return app


@asynccontextmanager
async def open_parts(settings: Settings) -> AsyncIterator[Parts]:
    """The real parts: MongoDB, Valkey, the link to the broker.

    Raises:
        Unavailable: MongoDB or the signing keys can't be reached. Valkey and the broker may come later.
    """
    async with contextlib.AsyncExitStack() as stack:
        stores = await open_stores(settings.mongo_url, settings.mongo_database)
        stack.push_async_callback(stores.close)
        valkey = connect(settings.valkey_url)
        stack.push_async_callback(valkey.aclose)
        outside = await stack.enter_async_context(httpx.AsyncClient(trust_env=False))
        jobs = CeleryJobQueue(settings.valkey_url, registry=CollectorRegistry())
        stack.push_async_callback(asyncio.to_thread, jobs.close)
        link = _link(settings)
        await stack.enter_async_context(_running(link))
        parts = assemble(
            settings,
            stores=stores,
            link=link,
            jobs=jobs,
            invalidations=ValkeyInvalidations(valkey),
            limiter=ValkeyRateLimiter(valkey),
            recents=ValkeyRecents(valkey, kind=HistoryItem),
            health=lambda: _health(stores, valkey, link),
            connections=BrokerAdmin(outside, settings.broker_admin_url, settings.broker_admin_secret_file),
            processes=HttpProcesses(outside, settings.api_processes),
            providers=await stack.enter_async_context(open_providers(settings.oidc_file)),
        )
        stack.callback(parts.passwords.close)
        announcer = Announcer(parts.invalidations, parts.link, parts.stores.notices)
        await stack.enter_async_context(_background(keep_sweeping(announcer)))
        await stack.enter_async_context(_background(keep_writing(parts.events)))
        yield parts


@asynccontextmanager
async def open_providers(file: Path | None) -> AsyncIterator[dict[str, OidcProvider]]:
    """The OpenID providers of a file: a JSON object of `ProviderConfig` by name.

    Raises:
        Unavailable: the file can't be used; says why, without its secrets.
    """
    found = {} if file is None else _read_providers(file)
    async with httpx.AsyncClient() as http:
        yield {name: OidcProvider(config, http) for name, config in found.items()}


def _read_providers(file: Path) -> dict[str, ProviderConfig]:
    try:
        return TypeAdapter(dict[str, ProviderConfig]).validate_json(file.read_bytes())
    except OSError as error:
        raise Unavailable(f"{file} can't be read: {error.strerror}") from error
    except ValidationError as error:
        raise Unavailable(f"{file} can't be used: {explain(error)}") from None


def assemble(
    settings: Settings,
    *,
    stores: Stores,
    link: Link,
    jobs: JobQueue,
    invalidations: Invalidations,
    limiter: RateLimiter,
    recents: Recents,
    health: Callable[[], Awaitable[dict[str, bool]]],
    connections: Connections,
    processes: Processes,
    providers: Mapping[str, OidcProvider],
) -> Parts:
    """Put together what does not depend on where the outside is."""
    jwks = Jwks(settings.jwks_file)
    return Parts(
        settings=settings,
        stores=stores,
        issuer=TokenIssuer(settings.keys_dir),
        jwks=jwks,
        authenticator=PolicyAuthenticator(
            tokens=TokenVerifier(jwks),
            sign_ins=stores.sign_ins,
            users=stores.users,
            devices=stores.devices,
            services=ServiceSecrets(settings.services_dir),
            accounts=stores.service_accounts,
        ),
        seal=Seal(settings.keys_dir),
        providers=providers,
        authority=None
        if settings.ca_dir is None
        else Authority(settings.ca_dir, days=settings.api_device_certificate_days),
        vapid=None if settings.vapid_dir is None else VapidKeys(settings.vapid_dir, settings.vapid_contact),
        passwords=Passwords(
            memory_kib=settings.argon2_memory_kib, passes=settings.argon2_passes, threads=settings.argon2_threads
        ),
        events=SecurityEvents(stores.audit, stores.users, lambda: [key["kid"] for key in jwks.document()["keys"]]),
        limits=Limits(
            limiter,
            MemoryRateLimiter(),
            handle=Rule(settings.login_handle_rate, settings.login_handle_burst),
            address=Rule(settings.login_address_rate, settings.login_address_burst),
            lock=Rule(1 / settings.login_lock_seconds, settings.login_lock_after),
        ),
        requests=Requests(Rule(settings.api_rate, settings.api_burst)),
        invalidations=invalidations,
        recents=recents,
        link=link,
        jobs=jobs,
        health=health,
        connections=connections,
        processes=processes,
    )


def _link(settings: Settings) -> MqttLink:
    return MqttLink(
        settings.mqtt_host,
        settings.mqtt_port,
        PRINCIPAL,
        _secret(settings.link_secret_file),
        f"{PRINCIPAL}:{instance_name()}",
    )


def _secret(file: Path) -> str:
    try:
        return file.read_text("ascii").strip()
    except (OSError, ValueError) as error:
        raise Unavailable(f"the link's secret {file} can't be read: {type(error).__name__}") from error


@asynccontextmanager
async def _running(link: Link) -> AsyncIterator[None]:
    """The link stays connected in the background; the api answers without it, except for sends."""
    async with _background(link.run([], lambda _: None)):
        yield


@asynccontextmanager
async def _background(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    task.add_done_callback(_ended)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait({task})


def _ended(task: asyncio.Task[None]) -> None:
    """Background work ends only when it is cancelled: anything else is told; of the link `/healthz` shows it."""
    if not task.cancelled():
        _log.error("background.ended", exc_info=task.exception())


async def _health(stores: Stores, valkey: Valkey, link: Link) -> dict[str, bool]:
    mongo, cache = await asyncio.gather(stores.healthy(), healthy(valkey))
    return {"mongo": mongo, "valkey": cache, "link": link.connected}
