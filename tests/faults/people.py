"""People of a running stack: registered, signed in, members of the same group chats, connected over MQTT."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from clients.python import ChatClient, Limits, PabalApi
from stack.testing import RunningStack

Heard = Callable[[str, Any], None]
"""Told (user, event) of every event that a client gets, in its order."""


@dataclass(frozen=True, slots=True)
class Person:
    """One user, over REST and MQTT."""

    user: str
    api: PabalApi
    client: ChatClient


@contextmanager
def people(
    stack: RunningStack, count: int, *, chats: int = 1, heard: Heard | None = None, outbox: int = 2_000
) -> Iterator[tuple[list[str], list[Person]]]:
    """Chat ids, and so many people who are members of all of them; everything is closed at the end.

    Args:
        outbox: messages that each client holds for sending.
    """
    with ExitStack() as exit_:
        info = stack.info
        names = [f"user-{secrets.token_hex(4)}" for _ in range(count)]
        apis = [exit_.enter_context(signed_in(stack, name)) for name in names]
        rooms = [
            apis[0].create_chat("group", title=f"방 {number}", members=names[1:]).id for number in range(1, chats + 1)
        ]
        found = []
        for name, api in zip(names, apis, strict=True):
            limits = Limits(outbox=outbox, hold=outbox)
            client = ChatClient(info["mqtt_host"], info["mqtt_port"], user=name, token=api.token, limits=limits)
            if heard is not None:
                client.on_event = lambda event, name=name: heard(name, event)
            client.connect(30)
            exit_.callback(client.close)
            for room in rooms:
                client.join(room, cursor=0, timeout=30)
            found.append(Person(name, api, client))
        yield rooms, found


@contextmanager
def signed_in(stack: RunningStack, name: str) -> Iterator[PabalApi]:
    """The API for a user who was just registered."""
    with PabalApi(stack.info["api"]) as api:
        password = secrets.token_urlsafe(12)
        api.register(name, password, f"{name} 님")
        api.login(name, password)
        yield api
