"""The workload of the fault tests: four clients of two group chats send at QoS 1, sometimes the same again, reconnect and send
again; each writes down what it did and what came of it. Somebody who is no member tries too, and one member comes late.

Clients are the Python SDK; what is stored is read from MongoDB itself, past all of our own code.
"""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, wait
from contextlib import ExitStack
from typing import Any, Self

from pymongo import MongoClient

from chat import topics
from chat.ids import new_message_id
from clients.python import (
    ApiError,
    ChatClient,
    JoinTimeout,
    Limits,
    PabalApi,
    SendRefused,
    Sent,
    Unreachable,
)
from mqtt.codec import V5, Decoder, encode
from mqtt.packets import Connect, Filter, SubAck, Subscribe
from mqtt.reasons import Reason
from stack.testing import RunningStack
from tests.faults.checker import Operation, Outcome, Row, Run
from tests.faults.people import Person, people, signed_in
from tests.faults.watching import Watching

MESSAGES = 2_000
CLIENTS = 4
SETTLE_SECONDS = 120.0
"""How long the system may take to acknowledge and deliver everything once the fault is over."""

LATE_SECONDS = 5.0
"""How long whoever comes late has at least, when everything else took its time."""

REPEAT_EVERY = 10
SEEN_EVERY = 25


class Workload:
    """Four members of two chats on a running stack.

    Attributes:
        run: what is known so far.
        times: seconds since the start at which each acknowledgement came.
    """

    def __init__(self, stack: RunningStack, *, outbox: int = MESSAGES, watch: bool = True) -> None:
        self.stack = stack
        self.run = Run()
        self.chats: list[str] = []
        self.times: list[float] = []
        self._outbox = outbox
        self._watch = watch
        self._lock = threading.Lock()
        self._exit = ExitStack()
        self._people: list[Person] = []
        self._futures: list[Future[Sent]] = []
        self._began = time.monotonic()
        self._number = 0

    def __enter__(self) -> Self:
        self.chats, self._people = self._exit.enter_context(
            people(self.stack, CLIENTS, chats=2, heard=self._heard, outbox=self._outbox)
        )
        users = {person.user for person in self._people}
        for user in users:
            self.run.received.setdefault(user, [])
        self.run.members = {chat: set(users) for chat in self.chats}
        if self._watch:
            self._exit.enter_context(Watching(self.stack, self.run, self.chats))
        return self

    def __exit__(self, *_: object) -> None:
        self._exit.close()

    def _heard(self, user: str, event: Any) -> None:
        row = Row(event.chat, event.seq, event.id, event.n, event.type, event.sender)
        with self._lock:
            self.run.received.setdefault(user, []).append(row)
        if event.seq % SEEN_EVERY == 0:
            for person in self._people:
                if person.user == user:
                    person.client.seen(event.chat, event.seq)

    # -- what clients do -------------------------------------------------------------------------------------------

    def send(self, count: int = MESSAGES, *, pause: float = 0.0) -> None:
        """Put `count` messages into the clients' outboxes, in turn; they go out with a window of 20 each."""
        for _ in range(count):
            person = self._people[self._number % CLIENTS]
            chat = self.chats[self._number // CLIENTS % len(self.chats)]
            self.put(person, chat, f"안녕하세요 {self._number} 🚲", repeat=self._number % REPEAT_EVERY == 0)
            self._number += 1
            if pause:
                time.sleep(pause)

    def put(self, person: Person, chat: str, text: str, *, repeat: bool = False) -> Operation:
        """One message into a client's outbox; with `repeat`, the same again once it was acknowledged."""
        message = new_message_id()
        text = f"{text} {message}"
        again = (lambda: self._offer("repeat", person, chat, text, message)) if repeat else None
        return self._offer("send", person, chat, text, message, then=again)

    def poison(self, text: str) -> Operation:
        """A message with exactly this text, by the first client."""
        person, message = self._people[0], new_message_id()
        return self._offer("send", person, self.chats[0], text, message)

    def _offer(
        self,
        kind: str,
        person: Person,
        chat: str,
        text: str,
        message: str,
        *,
        then: Callable[[], object] | None = None,
    ) -> Operation:
        operation = Operation(person.user, kind, chat, message, began=self._clock())
        with self._lock:
            self.run.operations.append(operation)
        future = person.client.send_nowait(chat, text=text, id=message)
        future.add_done_callback(lambda done: self._answered(operation, done, then))
        self._futures.append(future)
        return operation

    def _answered(self, operation: Operation, future: Future[Sent], then: Callable[[], object] | None) -> None:
        if future.cancelled():
            return
        error = future.exception()
        with self._lock:
            operation.ended = self._clock()
            if error is None:
                operation.outcome = Outcome.OK
                self.times.append(operation.ended)
            elif isinstance(error, SendRefused):
                operation.outcome, operation.code = Outcome.FAIL, error.code
        if error is None and then is not None:
            threading.Thread(target=then, name="repeat", daemon=True).start()

    def intrude(self) -> None:
        """Somebody who is no member listens, reads and writes."""
        info, chat, name = self.stack.info, self.chats[0], f"outsider-{time.monotonic_ns():x}"
        with signed_in(self.stack, name) as api:
            token = api.token()
            self._try(name, "listen", lambda: listen(info["mqtt_port"], name, token, topics.messages(chat)))
            self._try(name, "read", lambda: api.history(chat, after=0, limit=1))
            client = ChatClient(info["mqtt_host"], info["mqtt_port"], user=name, token=api.token, limits=Limits())
            with contextlib.closing(client):
                client.connect(30)
                message = new_message_id()
                self._try(name, message, lambda: client.send(chat, text="문 열어", id=message, timeout=10))

    def _try(self, user: str, what: str, act: Callable[[], object]) -> None:
        operation = Operation(user, "intrude", self.chats[0], what, began=self._clock())
        self.run.operations.append(operation)
        try:
            act()
            operation.outcome = Outcome.OK
        except (PermissionError, SendRefused, ApiError) as error:
            operation.outcome, operation.code = Outcome.FAIL, type(error).__name__
        except (OSError, Unreachable):
            return  # unknown: a fault may have struck
        operation.ended = self._clock()

    def token(self) -> str:
        """An access token of the first member."""
        return self._people[0].api.token()

    # -- how far it is ---------------------------------------------------------------------------------------------

    def _clock(self) -> float:
        return time.monotonic() - self._began

    def acked(self) -> int:
        """How many operations of members are acknowledged so far."""
        with self._lock:
            return len(self.times)

    def silence(self) -> float:
        """The longest time without any acknowledgement, in seconds."""
        with self._lock:
            return max((b - a for a, b in zip(self.times, self.times[1:], strict=False)), default=0.0)

    def when_acked(self, count: int, fault: Callable[[], object]) -> threading.Thread:
        """Run `fault` on a thread of its own as soon as so many messages are acknowledged."""

        def strike() -> None:
            while self.acked() < count:
                time.sleep(0.001)
            fault()

        thread = threading.Thread(target=strike, name="fault", daemon=True)
        thread.start()
        return thread

    # -- the end ---------------------------------------------------------------------------------------------------

    def finish(self, *, patience: float = SETTLE_SECONDS) -> Run:
        """Wait until everything is acknowledged and delivered (or patience ends), then read what is stored."""
        deadline = time.monotonic() + patience
        wait(self._futures, patience)
        time.sleep(0.2)  # a repeat may just be on its way
        wait(self._futures, max(0.0, deadline - time.monotonic()))
        self._read_rows()
        with self._late(deadline):
            messages = {row.id for row in self.run.stored if row.type == "message"}
            while time.monotonic() < deadline and any(
                messages - {row.id for row in list(rows)} for rows in list(self.run.received.values()) if rows
            ):
                time.sleep(0.3)
        for person in self._people:
            person.client.close()
        self._read_rows()
        for chat in self.chats:
            self.run.history[chat] = self._history(chat, deadline)
        return self.run

    @contextlib.contextmanager
    def _late(self, deadline: float) -> Iterator[None]:
        """Another device of the last member: it has nothing, and catches up from the beginning (P7)."""
        info, person = self.stack.info, self._people[-1]
        name = f"{person.user} (late)"
        self.run.received[name] = []
        for chat in self.chats:
            self.run.members[chat].add(name)
        client = ChatClient(info["mqtt_host"], info["mqtt_port"], user=person.user, token=person.api.token)
        client.on_event = lambda event: self._heard(name, event)
        with contextlib.closing(client):
            client.connect(30)
            for chat in self.chats:
                with contextlib.suppress(JoinTimeout):  # then the checker says what it misses
                    client.join(chat, cursor=0, timeout=max(LATE_SECONDS, deadline - time.monotonic()))
            yield

    def _read_rows(self) -> None:
        with MongoClient[dict[str, Any]](self.stack.info["mongo_url"], readConcernLevel="majority") as client:
            database = client["pabal"]
            self.run.stored = read_rows(self.stack.info["mongo_url"], self.chats)
            users = {person.user for person in self._people}
            self.run.letters = {
                letter["_id"].partition(":")[2]
                for letter in database["dead_letters"].find({}, {"_id": 1})
                if letter["_id"].partition(":")[0] in users
            }

    def _history(self, chat: str, deadline: float) -> list[str]:
        """Every id that the API shows; it may be on its way up again."""
        api: PabalApi = self._people[1].api
        ids: list[str] = []
        after = 0
        while True:
            try:
                page = api.history(chat, after=after, limit=100)
            except (Unreachable, ApiError):
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.2)
                continue
            if not page.items:
                return ids
            ids += [item.id for item in page.items]
            after = page.items[-1].seq


def listen(port: int, user: str, token: str, topic_filter: str) -> None:
    """Subscribe, past the SDK, which would ask whether that makes sense.

    Raises:
        PermissionError: the broker says no.
        OSError: it says nothing.
    """
    with socket.create_connection(("127.0.0.1", port), 10.0) as connection:
        connection.settimeout(10.0)
        decoder = Decoder(version=V5, max_packet=1 << 20)
        connect = Connect(f"{user}:raw", V5, username=user, password=token.encode())
        connection.sendall(encode(connect, V5) + encode(Subscribe(1, [Filter(topic_filter, 1)]), V5))
        while data := connection.recv(65_536):
            for packet in decoder.feed(data):
                if isinstance(packet, SubAck):
                    if packet.reasons[0] >= Reason.UNSPECIFIED_ERROR:
                        raise PermissionError(f"SUBACK {packet.reasons[0]:#x}")
                    return
        raise OSError("the broker closed the connection")


def read_rows(mongo_url: str, chats: list[str]) -> list[Row]:
    """What is stored of some chats, past all of our own code."""
    with MongoClient[dict[str, Any]](mongo_url, readConcernLevel="majority") as client:
        return [_row(document) for document in client["pabal"]["messages"].find({"chat_id": {"$in": chats}})]


def _row(document: dict[str, Any]) -> Row:
    text = (document.get("body") or {}).get("text", "")
    return Row(
        document["chat_id"],
        document["seq"],
        document["_id"],
        document["n"],
        document["type"],
        document["sender_id"],
        text.rpartition(" ")[2] if text.startswith("안녕하세요") else "",
    )
