"""The people of the demo, their sign-ins and connections, and the waits that steps share."""

from __future__ import annotations

import json
import queue
import secrets
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypedDict

import httpx

from chat.envelopes import Body, Event, Mark, ReceiptUpdate
from clients.python import ChatClient, Device, PabalApi, Presence

SOON = 10.0
"""Seconds that anything may take but a push."""

PUSH_SOON = 60.0
"""A lost push job is found by a sweep after 30 s, which runs every 15 s."""


class Unexpected(Exception):
    """Something is not as the story says."""


class NoStack(Exception):
    """No stack is running where the demo looked."""


class Stack(TypedDict):
    """What the demo reads of `stack.json`."""

    api: str
    mqtt_host: str
    mqtt_port: int
    fcm_url: str | None


def read_stack(path: Path) -> Stack:
    """What runs where.

    Raises:
        NoStack: the file is not there or not what it should be, or nothing answers behind it.
    """
    try:
        found: Stack = json.loads(path.read_bytes())
        httpx.get(f"{found['api']}/healthz", timeout=5.0)
    except FileNotFoundError:
        raise NoStack(f"there is no {path}: start a stack first (make up, or pabal up)") from None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise NoStack(f"{path} can't be read: {error}") from None
    except httpx.TransportError:
        raise NoStack(f"nothing answers at {found['api']}, which {path} names: start the stack (make up)") from None
    return found


@dataclass
class Person:
    """Somebody with an account."""

    handle: str
    name: str
    api: PabalApi
    client: ChatClient | None = None
    receipts: queue.Queue[ReceiptUpdate] = field(default_factory=lambda: queue.Queue(1000))
    presence: queue.Queue[Presence] = field(default_factory=lambda: queue.Queue(1000))

    @property
    def online(self) -> ChatClient:
        """Their connection."""
        if self.client is None:
            raise Unexpected(f"{self.handle} is not connected")
        return self.client


@dataclass
class Scene:
    """Where the story plays: what a step leaves here, later steps use.

    Attributes:
        stack: what runs where.
        say: shows one line of what is going on.
    """

    stack: Stack
    say: Callable[[str], None]
    suffix: str = field(default_factory=lambda: secrets.token_hex(3))
    people: dict[str, Person] = field(default_factory=dict)
    devices: list[Device] = field(default_factory=list)
    chats: dict[str, str] = field(default_factory=dict)
    events: dict[str, Event] = field(default_factory=dict)
    push_token: str = ""

    def __getitem__(self, name: str) -> Person:
        return self.people[name]

    def register(self, name: str, display_name: str) -> Person:
        """A new account under a fresh handle, signed in."""
        handle = f"{name}-{self.suffix}"
        api = PabalApi(self.stack["api"])
        self.people[name] = person = Person(handle, display_name, api)
        password = secrets.token_urlsafe(16)
        api.register(handle, password, display_name)
        api.login(handle, password)
        self.say(f"{display_name} is {handle}")
        return person

    def connect(self, person: Person) -> ChatClient:
        """A new connection of theirs, which begins without anything that an older one left."""
        client = ChatClient(
            self.stack["mqtt_host"],
            self.stack["mqtt_port"],
            user=person.handle,
            token=person.api.token,
            client_id=f"{person.handle}:demo",
            clean=True,
            session_expiry=0,
        )
        client.on_receipt = person.receipts.put
        client.on_presence = person.presence.put
        client.connect(SOON)
        person.client = client
        return client

    def device(self, device: str, secret: str) -> Device:
        """A thing's connection, over MQTT 3.1.1."""
        made = Device(self.stack["mqtt_host"], self.stack["mqtt_port"], device=device, secret=secret)
        self.devices.append(made)
        made.connect(SOON)
        return made

    def pushes(self, token: str) -> list[dict[str, Any]]:
        """What the FCM emulator has taken for a token."""
        url = self.stack.get("fcm_url")
        if not url:
            raise Unexpected("this stack has no FCM emulator (fcm_url)")
        answer = httpx.get(f"{url}/control/messages", params={"token": token}, timeout=SOON)
        taken: list[dict[str, Any]] = answer.raise_for_status().json()["messages"]
        return [message for message in taken if message["status"] == 200]

    def close(self) -> None:
        """End every connection."""
        for person in self.people.values():
            if person.client is not None:
                person.client.close()
            person.api.close()
        for device in self.devices:
            device.close()


def next_event(person: Person, chat: str) -> Event:
    """The next event of `chat` that reaches somebody."""
    deadline = time.monotonic() + SOON
    while (left := deadline - time.monotonic()) > 0:
        event = person.online.next_event(left)
        if event is not None and event.chat == chat:
            return event
    raise Unexpected(f"nothing reached {person.handle} within {SOON:g} s")


def marks(person: Person, chat: str, of: Person) -> Iterator[Mark]:
    """The watermarks of `of` as `person` sees them move; ends when none moved for a while."""
    while True:
        try:
            update = person.receipts.get(timeout=SOON)
        except queue.Empty:
            return
        if update.chat == chat:
            yield from (mark for mark in update.marks if mark.user == of.handle)


def text_of(event: Event) -> str:
    """What an event says."""
    body = event.body or Body()
    return str(body.text if body.text is not None else body.data)


def expect(truth: bool, otherwise: str) -> None:
    """Go on if it is so: an assert that -O does not remove.

    Raises:
        Unexpected: it is not; with `otherwise`.
    """
    if not truth:
        raise Unexpected(otherwise)


def until(look: Callable[[], bool], otherwise: str, *, within: float = SOON) -> None:
    """Wait until it is so, looking five times a second.

    Raises:
        Unexpected: it is not so within that many seconds.
    """
    deadline = time.monotonic() + within
    while not look():
        expect(time.monotonic() < deadline, otherwise)
        time.sleep(0.2)
