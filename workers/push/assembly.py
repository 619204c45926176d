"""How the parts of pushing are put together, of what `workers.app` has opened."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from adapters.push_dispatch import PushDispatcher
from adapters.stores import Stores
from chat.ports import Presence, RateLimiter
from chat.pushes import PushProgress
from workers.push.audience import Audience
from workers.push.deliver import Limits, PushDelivery
from workers.push.parking import Parking
from workers.push.sending import Pace, Sending
from workers.push.withdraw import Withdrawals
from workers.settings import WorkerSettings


@dataclass(frozen=True, slots=True)
class Pushing:
    """What a pool process pushes with. `threads` are to be shut down."""

    delivery: PushDelivery
    withdrawals: Withdrawals
    threads: ThreadPoolExecutor


def assemble(
    settings: WorkerSettings,
    *,
    stores: Stores,
    sender: PushDispatcher,
    progress: PushProgress,
    presence: Presence,
    quota: RateLimiter,
) -> Pushing:
    """Put it together; call it on the loop that will use it."""
    threads = ThreadPoolExecutor(settings.worker_push_threads, thread_name_prefix="push")
    parking = Parking(stores.dead_letters, _now)
    lease = settings.worker_task_seconds
    pace = Pace(settings.worker_push_rate, settings.worker_push_tries, settings.worker_longest_wait, lease)
    sending = Sending(
        stores=stores,
        progress=progress,
        sender=sender,
        quota=quota,
        parking=parking,
        executor=threads,
        threads=settings.worker_push_threads,
        pace=pace,
        now=_now,
    )
    delivery = PushDelivery(
        stores=stores,
        presence=presence,
        progress=progress,
        audience=Audience(stores, sender.platforms),
        sending=sending if sender.platforms else None,
        parking=parking,
        limits=_limits(settings),
        now=_now,
    )
    withdrawals = Withdrawals(
        stores=stores,
        progress=progress,
        sender=sender if sender.platforms else None,
        executor=threads,
        lease=lease,
        longest_pause=settings.worker_longest_wait,
        now=_now,
    )
    return Pushing(delivery, withdrawals, threads)


def _limits(settings: WorkerSettings) -> Limits:
    return Limits(
        lease=settings.worker_task_seconds,
        budget=settings.worker_task_seconds / 2,
        tries=settings.worker_push_tries,
        longest_pause=settings.worker_longest_wait,
        max_age=timedelta(seconds=settings.worker_push_max_age),
        grace=timedelta(seconds=settings.worker_push_grace),
        rest=settings.worker_push_rest,
    )


def _now() -> datetime:
    return datetime.now(UTC)
