"""No push is forgotten, whenever the worker is killed; poison blocks nobody. On real mongod, Valkey and FCM emulator."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from redis import Redis

from adapters.jobs import celery_app
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.jobs import PUSH_EVENT, PUSH_QUEUE, PUSH_WITHDRAW
from chat.models import Chat, ChatKind, DeadLetter, Member, Role
from stack import servers
from tests.contract.test_worker import TASK_SECONDS, Worker, World, emulator, own_valkey, wait_for, world
from tests.faults.killed_worker import MAIN, POOL

__all__ = ["emulator", "own_valkey", "world"]  # fixtures

SCRIPT = Path(__file__).parents[1] / "faults" / "killed_worker.py"


class MortalWorker(Worker):
    """The worker that dies where it is told to."""

    def __init__(self, env: dict[str, str], http: str, kills: Path) -> None:
        super().__init__(env | {"KILLS": str(kills)}, http)
        self.kills = kills
        self.lives = 0
        self.plan: dict[str, tuple[str, str]] = {}
        self._write()

    def start(self) -> None:
        self.lives += 1
        self.process = subprocess.Popen(servers.launched([sys.executable, str(SCRIPT)]), env=os.environ | self.env)

    def dies(self, message_id: str, point: str, how: str) -> None:
        self.plan[message_id] = (point, how)
        self._write()

    def _write(self) -> None:
        draft = self.kills.with_suffix(".new")
        draft.write_text(json.dumps(self.plan))
        draft.replace(self.kills)

    def revive(self) -> None:
        """Start it again if it has died."""
        if self.process is not None and self.process.poll() is not None:
            self.start()


@pytest.fixture
def mortal(
    mongo_url: str,
    mongo_database: str,
    own_valkey: str,
    fcm_emulator: tuple[str, Path],
    free_port: Callable[[], int],
    tmp_path: Path,
) -> Iterator[MortalWorker]:
    url, account = fcm_emulator
    http = f"127.0.0.1:{free_port()}"
    env = {
        "PABAL_MONGO_URL": mongo_url,
        "PABAL_MONGO_DATABASE": mongo_database,
        "PABAL_VALKEY_URL": own_valkey,
        "PABAL_FCM_SERVICE_ACCOUNT_FILE": str(account),
        "PABAL_FCM_ENDPOINT": url,
        "PABAL_WORKER_HTTP": http,
        "PABAL_WORKER_STATE_DIR": str(tmp_path / "state"),
        "PABAL_WORKER_TASK_SECONDS": str(TASK_SECONDS),
        "PABAL_WORKER_SWEEP_EVERY": "0.5",
        "PABAL_WORKER_SWEEP_AGE": "1",
        "PABAL_WORKER_LONGEST_WAIT": "3",
    }
    worker = MortalWorker(env, http, tmp_path / "kills.json")
    worker.start()
    yield worker
    if worker.process is not None:
        worker.stop(signal.SIGKILL)


async def lonely(world: World, *, job: bool = True) -> str:
    """A message in a chat of its own, so that nothing that is about a chat's other messages plays a part."""
    now, message_id = datetime.now(UTC), new_message_id()
    chat = Chat(id=f"g-{message_id}", kind=ChatKind.GROUP, created_at=now, created_by="user1", title="가족")
    members = [Member(chat=chat.id, user=user, role=Role.MEMBER, joined_at=now) for user in ("user1", "user3")]
    await world.stores.chats.create(chat, members)
    event = Event(
        type="message", id=message_id, chat=chat.id, seq=1, n=1, sender="user1", at=now, body=Body(text=message_id)
    )
    await world.stores.messages.insert([event], push=frozenset({message_id}))
    if job:
        await world.jobs.submit(PUSH_EVENT, message_id, queue=PUSH_QUEUE)
    return message_id


async def settled(world: World, worker: MortalWorker, message_ids: list[str], seconds: float = 120.0) -> None:
    """Until no mark is left; a worker that died is started again."""
    deadline = time.monotonic() + seconds
    left = set(message_ids)
    while left:
        assert time.monotonic() < deadline, [worker.plan.get(message_id) for message_id in left]
        worker.revive()
        left = {message_id for message_id in left if await world.marked(message_id)}
        await asyncio.sleep(0.1)


CASES = [*((point, "pool") for point in POOL), *((point, "all") for point in MAIN)]
DEADLY = [(point, "all") for point in POOL]


@pytest.mark.parametrize("cases", [CASES, pytest.param(DEADLY, marks=pytest.mark.long)], ids=["pool", "worker"])
async def test_kill_9_at_each_step_forgets_no_push(
    mortal: MortalWorker, world: World, cases: list[tuple[str, str]]
) -> None:
    wait_for(mortal.healthy, "a healthy worker")
    held: dict[str, tuple[str, str]] = {}
    for case in cases:
        message_id = await lonely(world, job=False)
        held[message_id] = case
        mortal.dies(message_id, *case)
    for message_id in held:
        await world.jobs.submit(PUSH_EVENT, message_id, queue=PUSH_QUEUE)
    await settled(world, mortal, list(held))
    pushes = Counter(text for _, text in world.pushed())
    for message_id, (point, how) in held.items():
        assert (mortal.kills.parent / message_id).exists(), f"nobody was killed at {point}"
        assert pushes[message_id] >= 1, f"forgotten after a kill ({how}) at {point}"
        # What FCM has had and nobody has noted is sent again; nothing else is.
        assert pushes[message_id] <= (2 if point == "sent" else 1), f"sent again after a kill ({how}) at {point}"
    assert await world.stores.dead_letters.page() == []
    assert mortal.lives > sum(how == "all" for _, how in cases) / 2, "the main process was killed too"


async def test_poison_is_parked_and_blocks_nobody(mortal: MortalWorker, world: World, own_valkey: str) -> None:
    """What is no job, what kills its process each time, and a job in the middle of it; then an end in order."""
    with Redis.from_url(own_valkey) as client:
        client.lpush("jobs:push", "no json", "{}", b"\xff", json.dumps({"body": "", "headers": {}, "properties": {}}))
    app = celery_app("test", own_valkey)
    app.send_task("pabal.of.tomorrow", args=["m1"], queue=PUSH_QUEUE)
    app.send_task(PUSH_EVENT, args=[{"no": "id"}], queue=PUSH_QUEUE)
    app.send_task(PUSH_WITHDRAW, args=["m1"], queue=PUSH_QUEUE)
    deadly = await lonely(world, job=False)
    mortal.dies(deadly, "begun", "always")
    await world.jobs.submit(PUSH_EVENT, deadly, queue=PUSH_QUEUE)
    good = await lonely(world)
    wait_for(mortal.healthy, "a healthy worker")
    await settled(world, mortal, [good, deadly])
    assert world.pushed() == [("token-user3", good)]
    letters = await letters_of(world, 4)
    assert {letter.id: letter.reason for letter in letters if not letter.id.startswith("job:pabal.of")} == {
        f"job:{PUSH_EVENT}:{deadly}": "it began 5 times and never ended",
        f"job:{PUSH_WITHDRAW}:m1": "its arguments are not this job's",
        **{letter.id: "its arguments are no ids" for letter in letters if b'"no"' in letter.payload},
    }
    assert [letter.reason for letter in letters if letter.id.startswith("job:pabal.of")] == ["there is no such job"]
    assert mortal.metric('pabal_jobs_refused_total{fate="dropped"}') == 4
    assert mortal.metric('pabal_jobs_refused_total{fate="parked"}') == 2
    assert mortal.metric('pabal_jobs_parked_total{kind="job"}') == 4
    wait_for(lambda: mortal.metric('pabal_queue_waiting{queue="push"}') == 0, "the queue to be empty")
    wait_for(lambda: mortal.metric("pabal_beat_leads") == 1, "the clock")
    assert mortal.metric('pabal_job_every_seconds{task="pabal.push.sweep"}') == 0.5
    assert mortal.lives == 1, "the main process lives through all of it"

    # SIGTERM: what runs is finished, what waits goes back into its queue.
    world.rule(token="token-user3", status=429, headers={"Retry-After": "3"})
    waiting = await lonely(world)
    wait_for(lambda: mortal.metric('pabal_push_events_total{ending="retry"}') == 1, "a job that waits for its next try")
    world.rule(token="token-user3", delay=1.5)
    running = await lonely(world)
    wait_for(lambda: world.emulator.get("/").json()["rules"] == 0, "the provider to be slow")
    assert mortal.stop() == 0
    assert not await world.marked(running)
    assert await world.marked(waiting)
    assert [text for _, text in world.pushed()] == [good, running]
    with Redis.from_url(own_valkey) as client:
        jobs = [json.loads(item) for item in client.lrange("jobs:push", 0, -1)]
        assert any(waiting in job["headers"]["argsrepr"] for job in jobs)
        assert client.hlen("jobs:unacked") == 0


async def letters_of(world: World, count: int) -> list[DeadLetter]:
    async with asyncio.timeout(60):
        while len(found := await world.stores.dead_letters.page()) < count:
            await asyncio.sleep(0.1)
    return found
