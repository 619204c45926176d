"""The workload of the kill tests: four clients of two group chats send 2,000 messages at QoS 1, reconnect and send again.

Clients are the Python SDK; what is stored is read from MongoDB itself, past all of our own code.
"""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import Any, Self

from pymongo import MongoClient

from chat.ids import new_message_id
from clients.python import ChatClient, Limits, PabalApi, Sent, Unreachable
from stack.testing import RunningStack
from tests.faults.checker import Row, Run

MESSAGES = 2_000
CLIENTS = 4
SETTLE_SECONDS = 120.0
"""How long the system may take to acknowledge and deliver everything once the fault is over."""


class Workload:
    """Four members of two chats on a running stack."""

    def __init__(self, stack: RunningStack) -> None:
        self.stack = stack
        self.run = Run()
        self.chats: list[str] = []
        self._lock = threading.Lock()
        self._exit = ExitStack()
        self._clients: list[ChatClient] = []
        self._apis: list[PabalApi] = []
        self._futures: list[Future[Sent]] = []

    def __enter__(self) -> Self:
        info = self.stack.info
        users = [f"user-{secrets.token_hex(4)}" for _ in range(CLIENTS)]
        for user in users:
            api = self._exit.enter_context(PabalApi(info["api"]))
            password = secrets.token_urlsafe(12)
            api.register(user, password, f"{user} 님")
            api.login(user, password)
            self._apis.append(api)
        for title in ("첫째 방", "둘째 방"):
            self.chats.append(self._apis[0].create_chat("group", title=title, members=users[1:]).id)
        for user, api in zip(users, self._apis, strict=True):
            client = ChatClient(
                info["mqtt_host"],
                info["mqtt_port"],
                user=user,
                token=api.token,
                limits=Limits(outbox=MESSAGES, hold=MESSAGES),
            )
            self._watch(user, client)
            client.connect(30)
            self._exit.callback(client.close)
            for chat in self.chats:
                client.join(chat, cursor=0, timeout=30)
            self._clients.append(client)
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _watch(self, user: str, client: ChatClient) -> None:
        rows = self.run.received[user] = []

        def took(event: Any) -> None:
            with self._lock:
                rows.append(Row(event.chat, event.seq, event.id, event.n, event.type, event.sender))

        client.on_event = took

    def send(self, count: int = MESSAGES, *, pause: float = 0.0) -> None:
        """Put `count` messages into the clients' outboxes, in turn; they go out with a window of 20 each."""
        for number in range(count):
            client = self._clients[number % CLIENTS]
            chat = self.chats[number // CLIENTS % len(self.chats)]
            message = new_message_id()
            with self._lock:
                self.run.sent[message] = (chat, client.user)
            future = client.send_nowait(chat, text=f"안녕하세요 {number} 🚲", id=message)
            future.add_done_callback(self._acked)
            self._futures.append(future)
            if pause:
                time.sleep(pause)

    def _acked(self, future: Future[Sent]) -> None:
        if not future.cancelled() and future.exception() is None:
            with self._lock:
                self.run.acked.add(future.result().id)

    def acked(self) -> int:
        """How many messages are acknowledged so far."""
        with self._lock:
            return len(self.run.acked)

    def when_acked(self, count: int, fault: Callable[[], object]) -> threading.Thread:
        """Run `fault` on a thread of its own as soon as so many messages are acknowledged."""

        def strike() -> None:
            while self.acked() < count:
                time.sleep(0.001)
            fault()

        thread = threading.Thread(target=strike, name="fault", daemon=True)
        thread.start()
        return thread

    def finish(self, *, patience: float = SETTLE_SECONDS) -> Run:
        """Wait until everything is acknowledged and delivered (or patience ends), then read what is stored."""
        deadline = time.monotonic() + patience
        wait(self._futures, patience)
        self._read_rows()
        messages = {row.id for row in self.run.stored if row.type == "message"}
        while time.monotonic() < deadline and any(
            messages - {row.id for row in list(rows)} for rows in self.run.received.values()
        ):
            time.sleep(0.1)
        for client in self._clients:
            client.close()
        self._read_rows()
        for chat in self.chats:
            self.run.history[chat] = self._history(chat, deadline)
        return self.run

    def _read_rows(self) -> None:
        with MongoClient[dict[str, Any]](self.stack.info["mongo_url"], readConcernLevel="majority") as client:
            found = client["pabal"]["messages"].find({"chat_id": {"$in": self.chats}})
            self.run.stored = [
                Row(row["chat_id"], row["seq"], row["_id"], row["n"], row["type"], row["sender_id"]) for row in found
            ]

    def _history(self, chat: str, deadline: float) -> list[str]:
        """Every id that the API shows; it may be on its way up again."""
        ids: list[str] = []
        after = 0
        while True:
            try:
                page = self._apis[1].history(chat, after=after, limit=100)
            except Unreachable:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if not page.items:
                return ids
            ids += [item.id for item in page.items]
            after = page.items[-1].seq
