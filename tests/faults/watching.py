"""Looks on during a run: watermarks as they are stored (P6), and what has a bound (P8)."""

from __future__ import annotations

import re
import threading
from typing import Any, Self

import httpx
import psutil
from pymongo import MongoClient
from pymongo.errors import PyMongoError

from bridge.settings import Settings as BridgeSettings
from stack.testing import RunningStack
from tests.faults.checker import Mark, Run, Sample

EVERY = 0.5
MEMORY = 400e6
"""Bytes that a process of ours may take under these loads: three times what it takes; without bounds it would be more at once."""

WAITING = 2 * BridgeSettings.model_fields["bridge_receive_maximum"].default
"""Messages that may wait in the bridge."""

OURS = ("broker", "bridge", "api", "worker")


class Watching:
    """Writes into `run` from a thread of its own, until the block ends; then reads the watermarks a last time."""

    def __init__(self, stack: RunningStack, run: Run, chats: list[str]) -> None:
        self._stack = stack
        self._run = run
        self._chats = chats
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watching", daemon=True)
        self._mongo = MongoClient[dict[str, Any]](
            stack.info["mongo_url"],
            readConcernLevel="majority",
            serverSelectionTimeoutMS=1000,
            connectTimeoutMS=1000,
            timeoutMS=2000,
        )

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._mongo.close()

    def _watch(self) -> None:
        while not self._ended.wait(EVERY):
            self._run.marks += read_marks(self._mongo, self._chats)
            self._run.samples += self._samples()

    def _samples(self) -> list[Sample]:
        found = []
        for name in OURS:
            try:
                memory = psutil.Process(self._stack.refresh()["processes"][name]).memory_info().rss
            except (psutil.Error, KeyError, RuntimeError):
                continue
            found.append(Sample(f"memory of {name}", memory, MEMORY))
        try:
            text = httpx.get(self._stack.info["metrics"]["bridge"], timeout=1.0, trust_env=False).text
        except httpx.HTTPError:
            return found
        if waiting := re.search(r"^pabal_bridge_waiting (\S+)", text, re.MULTILINE):
            found.append(Sample("waiting in the bridge", float(waiting[1]), WAITING))
        return found


def read_marks(client: MongoClient[dict[str, Any]], chats: list[str]) -> list[Mark]:
    """The watermarks of all members, as the majority has them; none while it does not answer."""
    try:
        found = list(client["pabal"]["members"].find({"chat_id": {"$in": chats}}))
    except PyMongoError:
        return []
    return [Mark(row["chat_id"], row["user_id"], row["delivered_seq"], row["seen_seq"], row["seen_n"]) for row in found]
