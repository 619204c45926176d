"""What is in the database when the measurement begins, and the requests."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from adapters.stores import Stores
from adapters.tokens import TokenIssuer
from bench.api.cases import Route
from bench.api.load import Request, request
from bench.path.cases import SIZE
from bench.peer_pabal import in_turn
from chat.envelopes import Body, Event
from chat.ids import new_message_id
from chat.models import Chat, ChatKind, Grant, Member, Receipt, Role, User

PAIRS = 100
"""Chats of two, with `LENGTH` messages each."""
LENGTH = 400
PAGE = 50
MANY = 2_000
"""Chats of the one who has many, with three messages each."""
GROUPS = {Route.GROUP: 50, Route.LARGE: 1_000}
"""Members of a group, by what it is for; with `LENGTH` messages."""
COLLECTOR = "bench-collector"

_WORDS = "안녕하세요 파발이 밤에도 달립니다 "
_LIFETIME = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class World:
    """Who and what is there.

    Attributes:
        tokens: access tokens by handle.
        password: that logs `login` in.
    """

    tokens: dict[str, str]
    login: str
    password: str

    def requests(self, route: Route) -> Iterator[Request]:
        """Requests of one kind, without end."""
        rng = random.Random(7)  # noqa: S311 - the same in each run
        while True:
            yield self._request(route, rng)

    def _request(self, route: Route, rng: random.Random) -> Request:
        number = rng.randrange(PAIRS)
        token = self.tokens[_person(number)]
        path = f"/v1/chats/{_pair(number)}/messages"
        match route:
            case Route.NEWEST | Route.COLD:
                return request("GET", path, token=token)
            case Route.OLDER:
                return request("GET", f"{path}?before={rng.randrange(PAGE + 1, LENGTH - PAGE)}", token=token)
            case Route.GROUP | Route.LARGE:
                return request("GET", f"/v1/chats/{_group(route)}/messages", token=self.tokens[_in_group(route, 0)])
            case Route.CHATS:
                return request("GET", "/v1/chats", token=self.tokens[COLLECTOR])
            case Route.LOGIN:
                form = f"grant_type=password&username={self.login}&password={self.password}"
                return request("POST", "/v1/auth/token", body=form.encode())
            case Route.SEND:
                id_ = new_message_id()  # in the text too: the same again and again would be refused as a flood
                text = f'{{"id":"{id_}","body":{{"text":"{id_} {_text(SIZE - 117)}"}}}}'
                return request("POST", path, token=token, body=text.encode())


async def seed(stores: Stores, issuer: TokenIssuer, *, login: str, password: str) -> World:
    """Put everything there."""
    now = datetime.now(UTC)
    people = [*(_person(n) for n in range(PAIRS)), *(_peer(n) for n in range(PAIRS)), COLLECTOR]
    people += [_in_group(route, n) for route, size in GROUPS.items() for n in range(size)]
    await in_turn(stores.users.add(User(person, person, "!", now)) for person in people)
    grants = [Grant(f"bench-{person}", person, f"none {person}", now, now + _LIFETIME) for person in people]
    await in_turn(stores.grants.add(grant) for grant in grants)
    for number in range(PAIRS):
        await _chat(stores, _pair(number), [_person(number), _peer(number)], LENGTH, now)
    for route, size in GROUPS.items():
        await _chat(stores, _group(route), [_in_group(route, n) for n in range(size)], LENGTH, now)
    for start in range(0, MANY, 20):
        few = range(start, start + 20)
        await asyncio.gather(*(_chat(stores, f"g-bench-many-{n}", [COLLECTOR, _peer(n % PAIRS)], 3, now) for n in few))
    tokens = {grant.user: issuer.issue(grant.user, sid=grant.sid).value for grant in grants}
    return World(tokens, login, password)


async def _chat(stores: Stores, chat: str, people: Sequence[str], length: int, now: datetime) -> None:
    """A chat in which everybody has received everything and seen all but the last five."""
    seen = max(0, length - 5)
    rows = [Member(chat, one, Role.MEMBER, now, delivered_seq=length, seen_seq=seen, seen_n=seen) for one in people]
    await stores.chats.create(
        Chat(chat, ChatKind.GROUP, now, people[0], title="방", last_seq=length, last_n=length, last_at=now), rows
    )
    start = now - timedelta(minutes=length)
    await stores.messages.insert(
        [
            Event(
                "message",
                new_message_id(),
                chat,
                seq,
                seq,
                people[seq % min(2, len(people))],
                start + timedelta(minutes=seq),
                body=Body(text=_text(SIZE)),
            )
            for seq in range(1, length + 1)
        ]
    )
    await stores.receipts.append(
        [
            Receipt(chat, one, kind, seq, start + timedelta(minutes=seq, seconds=place))
            for one in people[:50]
            for place, (kind, step) in enumerate((("delivered", 5), ("seen", 25)))
            for seq in range(step, (length if kind == "delivered" else seen) + 1, step)
        ]
    )


def _text(size: int) -> str:
    """Korean text of about so many bytes."""
    return (_WORDS * (size // len(_WORDS.encode()) + 1)).encode()[:size].decode(errors="ignore")


def _person(number: int) -> str:
    return f"bench-a{number}"


def _peer(number: int) -> str:
    return f"bench-b{number}"


def _pair(number: int) -> str:
    return f"g-bench-{number}"


def _group(route: Route) -> str:
    return f"g-bench-{route.name.lower()}"


def _in_group(route: Route, number: int) -> str:
    return f"bench-{route.name.lower()}{number}"
