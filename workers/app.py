"""The composition root of the worker: the only place that constructs its adapters.

`celery` is the Celery application (`celery -A workers.app inspect …` finds it); `run` is what `python -m workers` does.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import timedelta
from functools import partial
from logging import getLogger
from pathlib import Path
from typing import Any

import structlog
from celery import Celery, signals
from kombu import Queue

from adapters import logging, mongo, valkey
from adapters.jobs import TRANSPORT, celery_app
from adapters.mqtt_link import MqttLink
from adapters.push_dispatch import FCM_PLATFORMS, WEB_PUSH_PLATFORMS, PushDispatcher
from adapters.push_fcm import FcmSender
from adapters.push_web import WebPushSender
from adapters.settings_view import visible
from adapters.stores import Stores
from adapters.tracing import check as check_tracing
from adapters.vapid import VapidKeys
from chat.errors import Unavailable
from chat.ports import PushSender
from workers import tasks
from workers.audit import AuditCheck
from workers.beat import BeatThread, beat_step
from workers.broadcast import PRINCIPAL, Broadcaster
from workers.erase import Eraser
from workers.gauges import JobGauges
from workers.process import PoolProcess, Services
from workers.push import assembly
from workers.push.sweep import PushSweep
from workers.retention import Retention
from workers.settings import WorkerSettings
from workers.statistics import RollUp
from workers.status import Check, Look, StatusThread
from workers.traces import install as install_traces
from workers.unread_audit import UnreadAudit
from workers.upkeep import Compaction, Hygiene

LINK_SECONDS = 10.0
"""How long a job waits for its link to the broker."""

MAX_WAITING_RETRIES = 10_000
"""Jobs that wait in this worker's memory for their next try."""

_log = structlog.get_logger("worker")


async def open_services(settings: WorkerSettings) -> Services:
    """Everything a pool process works with; call it on the loop that will use it.

    Raises:
        Unavailable: Mongo does not answer.
    """
    stores = await mongo.open_stores(settings.mongo_url, settings.mongo_database)
    client = valkey.connect(settings.valkey_url)
    progress = valkey.ValkeyPushProgress(client)
    pushes = assembly.assemble(
        settings,
        stores=stores,
        sender=_sender(settings),
        progress=progress,
        presence=valkey.ValkeyPresence(client),
        quota=valkey.ValkeyRateLimiter(client),
    )
    sweep = PushSweep(
        messages=stores.messages,
        progress=progress,
        age=timedelta(seconds=settings.worker_sweep_age),
        claim=settings.visibility_seconds,
    )

    async def close() -> None:
        pushes.threads.shutdown(wait=False, cancel_futures=True)
        await client.aclose()
        await stores.close()

    budget = settings.worker_task_seconds / 2
    return Services(
        delivery=pushes.delivery,
        withdrawals=pushes.withdrawals,
        sweep=sweep,
        eraser=Eraser(stores.messages),
        retention=Retention(
            stores.upkeep,
            stores.job_runs,
            valkey.ValkeyRecents(client),
            days=settings.worker_retention_days,
            budget=budget,
        ),
        hygiene=Hygiene(stores.upkeep, push_token_days=settings.worker_push_token_days),
        compaction=Compaction(stores.upkeep, stores.job_runs, days=settings.worker_receipts_days, budget=budget),
        roll_up=RollUp(stores.statistics, budget=budget),
        audit_log=AuditCheck(stores.audit, budget=budget),
        unread_audit=UnreadAudit(
            stores, most=settings.worker_audit_memberships, repair=settings.worker_audit_repair, budget=budget
        ),
        broadcaster=_broadcaster(settings, stores),
        starts=valkey.ValkeyJobStarts(client),
        runs=stores.job_runs,
        letters=stores.dead_letters,
        messages=stores.messages,
        close=close,
    )


def _broadcaster(settings: WorkerSettings, stores: Stores) -> Broadcaster | None:
    if settings.link_secret_file is None:
        return None
    return Broadcaster(
        stores.broadcasts,
        stores.admin,
        partial(_linked, settings, settings.link_secret_file),
        budget=settings.worker_task_seconds / 2,
        lease=settings.worker_task_seconds,
    )


@asynccontextmanager
async def _linked(settings: WorkerSettings, secret_file: Path) -> AsyncIterator[MqttLink]:
    """A link to the broker for one job.

    Raises:
        Unavailable: it is not up within some seconds, or there is no secret.
    """
    try:
        secret = (await asyncio.to_thread(secret_file.read_text, "ascii")).strip()
    except (OSError, ValueError) as error:
        raise Unavailable(f"the link's secret can't be read: {type(error).__name__}") from error
    client_id = f"{PRINCIPAL}:{os.getpid()}"
    link, up = MqttLink(settings.mqtt_host, settings.mqtt_port, PRINCIPAL, secret, client_id), asyncio.Event()
    link.on_up = up.set
    task = asyncio.create_task(link.run([], lambda _: None))
    try:
        async with asyncio.timeout(LINK_SECONDS):
            await up.wait()
        yield link
    except TimeoutError:
        raise Unavailable("the broker does not answer") from None
    finally:
        task.cancel()
        await asyncio.wait({task})


def _sender(settings: WorkerSettings) -> PushDispatcher:
    """The providers that are configured.

    Raises:
        FileNotFoundError, ValueError: a key file is of no use.
    """
    senders: dict[frozenset[str], PushSender] = {}
    if settings.fcm_service_account_file is not None:
        senders[FCM_PLATFORMS] = FcmSender(settings.fcm_service_account_file, endpoint=settings.fcm_endpoint)
    if settings.vapid_dir is not None:
        senders[WEB_PUSH_PLATFORMS] = WebPushSender(VapidKeys(settings.vapid_dir, settings.vapid_contact))
    return PushDispatcher(senders)


def create(settings: WorkerSettings) -> Celery:
    """The Celery application with its jobs, queues and clock."""
    app = celery_app("pabal", settings.valkey_url)
    app.conf.update(
        task_queues=[Queue(name) for name in settings.queues],
        broker_transport="workers.transport:Transport",
        worker_consumer="workers.consumer:JobConsumer",
        broker_transport_options=TRANSPORT | {"visibility_timeout": settings.visibility_seconds},
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        # A job is acknowledged when it is done, and handed out again when its process died: jobs bear being run twice.
        task_acks_late=True,
        task_reject_on_worker_lost=True,
        task_acks_on_failure_or_timeout=False,  # one that is over its time too: `workers.job` counts how often
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_prefetch_multiplier=1,
        worker_eta_task_limit=MAX_WAITING_RETRIES,
        task_time_limit=settings.worker_task_seconds,
        worker_concurrency=settings.worker_concurrency,
        worker_enable_remote_control=settings.worker_events,
        worker_send_task_events=settings.worker_events,
        worker_hijack_root_logger=False,
        worker_redirect_stdouts=False,
        beat_schedule_filename=str(settings.worker_state_dir / "beat-schedule"),
        beat_schedule=tasks.schedule(settings.every) if settings.worker_beat else {},
    )
    process = PoolProcess(partial(open_services, settings))
    tasks.register(app, process, tries=settings.worker_push_tries, longest_wait=settings.worker_longest_wait)
    # weak=False: nothing else keeps these.
    signals.setup_logging.connect(partial(_configure_logging, settings), weak=False)
    signals.worker_process_init.connect(lambda **_: process.start(), weak=False)
    signals.worker_process_shutdown.connect(lambda **_: process.stop(), weak=False)
    install_traces(settings)
    return app


def run(settings: WorkerSettings, metrics_dir: Path) -> int:
    """Work until SIGTERM; returns the exit code.

    Args:
        settings: the same that `celery` was made of.
        metrics_dir: PROMETHEUS_MULTIPROC_DIR.

    Raises:
        OSError, ValueError: the key file or the address of `/metrics` is of no use.
    """
    _configure_logging(settings)
    check_tracing(settings)
    if not _sender(settings).platforms:  # a wrong key file is an error now, not at the first push
        _log.warning("push.off", reason="neither PABAL_FCM_SERVICE_ACCOUNT_FILE nor PABAL_VAPID_DIR is set")
    if settings.worker_beat:
        celery.steps["worker"].add(beat_step(partial(valkey.ValkeyLease, settings.valkey_url, "beat")))
    worker = celery.Worker(
        hostname=f"pabal-{os.getpid()}@{socket.gethostname()}",  # two on one machine are two for Celery's monitoring
        pool_cls="prefork",
        quiet=True,
        without_gossip=True,
        without_mingle=True,
        without_heartbeat=not settings.worker_events,
    )
    gauges = JobGauges(settings.every, lambda: any(step.leads for step in _clocks(worker)))
    status = StatusThread(
        settings.worker_http,
        metrics_dir,
        partial(_outside, settings, gauges),
        gauges,
        partial(_inside, worker),
        partial(visible, settings),
    )
    status.start()
    try:
        worker.start()
    finally:
        status.stop()
    return int(worker.exitcode or 0)


def _outside(settings: WorkerSettings, gauges: JobGauges, stack: AsyncExitStack) -> tuple[dict[str, Check], Look]:
    """What the worker needs of others, asked over connections of the status thread's own."""
    stores = mongo.stores_of(mongo.connect(settings.mongo_url, settings.mongo_database))
    stack.push_async_callback(stores.close)
    client = valkey.connect(settings.valkey_url)
    stack.push_async_callback(client.aclose)
    return {"mongo": stores.healthy, "valkey": partial(valkey.healthy, client)}, partial(gauges.look, client, stores)


def _inside(worker: Any) -> dict[str, bool]:
    """Whether jobs are taken, and the clock runs."""
    consumer = getattr(worker, "consumer", None)
    # Celery has a task consumer from the moment that it listens until it loses its connection or ends.
    parts = {"jobs": getattr(consumer, "task_consumer", None) is not None}
    clocks = [step.running for step in _clocks(worker)]
    return parts | ({"beat": all(clocks)} if clocks else {})


def _clocks(worker: Any) -> list[BeatThread]:
    return [step for step in worker.steps if isinstance(step, BeatThread)]


def _configure_logging(settings: WorkerSettings, **_: Any) -> None:
    logging.configure(settings.log_level, settings.log_format, "worker")
    # Two lines per job say nothing that our own events don't.
    for name in ("celery.worker.strategy", "celery.app.trace", "celery.beat"):
        getLogger(name).setLevel("WARNING")


celery = create(WorkerSettings())
