"""`pabal backup`: made while messages flow, restored into a fresh stack, where every message is that was acknowledged before."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pymongo import MongoClient

from clients.python import PabalApi
from stack.ports import free_port_base
from stack.processes import REPOSITORY
from stack.testing import RunningStack
from tests.conftest import Stacks
from tests.faults.checker import Outcome, Run, check, summary
from tests.faults.workload import Workload, read_rows

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]


def pabal(*words: str, code: int = 0) -> str:
    ended = subprocess.run(
        [sys.executable, "-m", "stack", "backup", *words],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert ended.returncode == code, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout if code == 0 else ended.stderr


def history_window(stack: RunningStack) -> int:
    with MongoClient[dict[str, Any]](stack.info["mongo_url"]) as client:
        name = "minSnapshotHistoryWindowInSeconds"
        return int(client.admin.command("getParameter", 1, **{name: 1})[name])


def test_made_while_messages_flow_and_restored_into_a_fresh_stack(
    stack: RunningStack, own_stack: Stacks, tmp_path: Path
) -> None:
    backup, fresh = str(tmp_path / "backup"), tmp_path / "fresh"
    window = history_window(stack)
    with Workload(stack, watch=False) as work:
        ended = threading.Event()

        def write() -> None:
            while not ended.is_set():
                work.send(20)
                time.sleep(0.05)

        writing = threading.Thread(target=write)
        writing.start()
        while work.acked() < 200:
            time.sleep(0.02)
        before = {one.id for one in list(work.run.operations) if one.outcome is Outcome.OK}
        made = json.loads(pabal("create", backup, "--state", str(stack.state.root), "--sessions", "--json"))
        after = work.acked()
        ended.set()
        writing.join()
        run = work.finish()
        chats, token = work.chats, work.token()
    assert not check(run), summary(check(run))
    assert after > len(before), "nobody wrote while it was made"
    assert history_window(stack) == window, "it is as it was before"
    assert made["schema"] > 0
    assert made["cluster_time"][0] > 1_700_000_000
    assert "is whole" in pabal("verify", backup)

    pabal("restore", backup, "--state", str(fresh))
    assert "already" in pabal("restore", backup, "--state", str(fresh), code=1)
    assert "a stack already runs" in pabal("restore", backup, "--state", str(stack.state.root), code=1)
    restored = own_stack(fresh)
    with PabalApi(restored.info["api"]) as api:
        api.token = lambda: token  # the keys came along, so who is signed in stays so
        shown = {chat: [item.id for item in pages(api, chat)] for chat in chats}
    # As far as the restored stack knows, only those of before were acknowledged; the others may be there or not.
    known = [one if one.id in before else replace(one, outcome=Outcome.UNKNOWN) for one in run.operations]
    there = Run(operations=known, stored=read_rows(restored.info["mongo_url"], chats), history=shown)
    assert not check(there), summary(check(there))
    assert before <= {row.id for row in there.stored}
    assert len(there.stored) < len(run.stored), "it is of one moment, and that was before the end"
    with (
        MongoClient[dict[str, Any]](stack.info["mongo_url"]) as old,
        MongoClient[dict[str, Any]](restored.info["mongo_url"]) as new,
    ):
        assert indexes(new) == indexes(old)


def pages(api: PabalApi, chat: str) -> list[Any]:
    found: list[Any] = []
    while page := api.history(chat, after=found[-1].seq if found else 0, limit=100).items:
        found += page
    return found


def indexes(client: MongoClient[dict[str, Any]]) -> dict[str, Any]:
    db = client["pabal"]
    return {
        name: db[name].index_information() for name in ("messages", "members", "refresh_tokens", "receipts", "chats")
    }


def test_nothing_runs_on_what_was_put_back_half_way(tmp_path: Path) -> None:
    (tmp_path / "restoring").touch()
    argv = [sys.executable, "-m", "stack", "up", "--state", str(tmp_path), "--port-base", str(free_port_base())]
    ended = subprocess.run(argv, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert "half way" in ended.stderr


def test_damage_is_told(tmp_path: Path) -> None:
    assert "no manifest.json" in pabal("verify", str(tmp_path), code=1)
