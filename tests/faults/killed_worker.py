# ruff: noqa: PLC0415 -- what counts in its modules must not be imported before it is known where to count
"""`python killed_worker.py`: the worker, killed at points that the file KILLS names: `{message id: [point, "pool" | "all" | "always"]}`.

`pool` kills the pool process that is at the point, `all` the main process with it, each once per message; `always` the pool process each time.
"""

from __future__ import annotations

import base64
import functools
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

MAIN = ("popped", "taken", "ending")
"""Points in the main process: out of the queue and nowhere else; noted as taken; done and not acknowledged."""

POOL = ("begun", "leased", "sending", "sent", "noted", "cleared", "released")
"""Points in a pool process, in the order in which a push passes them."""

PUSH = "pabal.push.event"

_current: tuple[str, ...] = ()


def reach(point: str, message_id: str) -> None:
    """Die here, if that is what the file says."""
    kills = Path(os.environ["KILLS"])
    wanted, how = json.loads(kills.read_text()).get(message_id, ("", ""))
    if wanted != point:
        return
    mark = kills.with_name(message_id)
    if how != "always":
        try:
            mark.touch(exist_ok=False)
        except FileExistsError:
            return
    if how == "all" and point in POOL:
        os.kill(os.getppid(), signal.SIGKILL)
    os.kill(os.getpid(), signal.SIGKILL)


def reach_all(point: str, message_ids: tuple[str, ...]) -> None:
    """The same for a job of several messages."""
    for message_id in message_ids:
        reach(point, message_id)


def _arguments(body: str | bytes) -> tuple[str, ...]:
    args = json.loads(body)[0]
    return tuple(arg for arg in args if isinstance(arg, str))


def install() -> None:
    """Hooks round the steps of a push; called before the pool forks."""
    _install_in_main()
    _install_in_pool()


def _install_in_main() -> None:
    from celery.worker.request import Request

    from workers.consumer import JobConsumer
    from workers.transport import Transport, well_formed

    deliver, handler, acknowledge = Transport._deliver, JobConsumer.create_task_handler, Request.acknowledge

    def delivered(self: Any, item: Any, queue: Any) -> None:
        if well_formed(item) and item["headers"].get("task") == PUSH:
            reach_all("popped", _arguments(base64.b64decode(item["body"])))
        deliver(self, item, queue)

    def handling(self: Any, *args: Any, **named: Any) -> Any:
        handle = handler(self, *args, **named)

        def taken(message: Any) -> None:
            if message.headers.get("task") == PUSH:
                reach_all("taken", _arguments(message.body))
            handle(message)

        return taken

    def acknowledged(self: Any) -> None:
        if self.name == PUSH:
            reach_all("ending", _arguments(self.message.body))
        acknowledge(self)

    Transport._deliver = delivered  # type: ignore[method-assign]
    JobConsumer.create_task_handler = handling  # type: ignore[method-assign]
    Request.acknowledge = acknowledged


def _install_in_pool() -> None:
    from adapters.mongo.messages import MongoMessages
    from adapters.push_fcm import FcmSender
    from adapters.valkey import ValkeyPushProgress
    from workers.job import Job

    do, send = Job._do, FcmSender.send

    def begun(self: Any, key: str, args: Any, named: Any) -> None:
        global _current  # noqa: PLW0603 - a pool process does one job at a time
        _current = args
        reach_all("begun", _current)
        do(self, key, args, named)

    def sending(self: Any, push: Any) -> None:
        reach_all("sending", _current)
        send(self, push)
        reach_all("sent", _current)

    def after(owner: type, method: str, point: str) -> None:
        real = getattr(owner, method)

        @functools.wraps(real)
        async def reached(self: Any, *args: Any, **named: Any) -> Any:
            answer = await real(self, *args, **named)
            if args:  # taking no mark off is no step
                reach_all(point, _current)
            return answer

        setattr(owner, method, reached)

    Job._do = begun  # type: ignore[method-assign]
    FcmSender.send = sending  # type: ignore[method-assign]
    after(ValkeyPushProgress, "acquire", "leased")
    after(ValkeyPushProgress, "note", "noted")
    after(MongoMessages, "push_done", "cleared")
    after(ValkeyPushProgress, "release", "released")


def main() -> int:
    """As `workers.__main__`."""
    from workers.settings import WorkerSettings

    settings = WorkerSettings()
    metrics_dir = settings.worker_state_dir.absolute() / "metrics"
    metrics_dir.mkdir(parents=True, exist_ok=True)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_dir)
    from workers.app import run

    install()
    return run(settings, metrics_dir)


if __name__ == "__main__":
    sys.exit(main())
