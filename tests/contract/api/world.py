"""One chat with somebody in every role, and requests to it as `route_rules.py` describes them."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

from adapters.stores import Stores
from api.clock import now
from api.testing import PASSWORD, Harness, User, running_api
from chat import topics
from chat.ids import new_message_id
from chat.models import DeadLetter, ServiceAccount
from chat.models import User as Person
from tests.contract.api.route_rules import RULES, Who

MISSING = {
    "chat": "g-" + "0" * 32,
    "user": "nobody",
    "token": "no:token",
    "letter": "no-letter",
    "link": "inv-" + "0" * 16,
    "client": "nobody:phone",
    "broadcast": "x",
    "message": "01890a5d-ac96-774b-bcce-b302099a8057",
    "session": "0" * 32,
    "device": "dev-none",
    "service_id": "svc-none",
    "provider": "no-provider",
}
"""Ids that nobody has. A new kind of path parameter needs an entry here and in `World.ids`."""

OUTSIDE = ("stranger", "left", "root")
"""Not in the chat: was never, is no more, administers the system."""

INSIDE = {"reader": Who.READER, "member": Who.MEMBER, "manager": Who.MANAGER, "owner": Who.OWNER}


@dataclass
class World:
    """One chat with somebody in every role, and things that belong to `owner`."""

    api: Harness
    users: dict[str, User]
    ids: dict[str, str]

    async def call(self, who: str | None, route: tuple[str, str], ids: dict[str, str]) -> httpx.Response:
        """One request as `RULES` describes it; `who` None: without a token."""
        (method, path), rule = route, RULES[route]
        request: dict[str, Any] = {"params": {name: filled(text, ids) for name, text in rule.query.items()}}
        if rule.body is not None:
            request["json"] = json.loads(filled(json.dumps(rule.body()), ids))
        if rule.form:
            request["data"] = rule.form
        if who is None:
            return await self.api.client.request(method, filled(path, ids), **request)
        return await self.users[who].call(method, filled(path, ids), **request)


def filled(text: str, ids: dict[str, str]) -> str:
    for name, value in ids.items():
        text = text.replace("{" + name + "}", value)
    return text


async def new_chat(users: dict[str, User]) -> str:
    """A group with all roles; `left` has left it."""
    owner = users["owner"]
    wish = {"kind": "group", "title": "산", "members": ["member", "manager", "left", "target"]}
    chat: str = (await owner.post("/v1/chats", wish)).json()["id"]
    path = f"/v1/chats/{chat}/members"
    assert (await owner.post(path, {"members": ["reader"], "role": "reader"})).status_code == 201
    assert (await owner.call("PATCH", f"{path}/manager", json={"role": "admin"})).status_code == 200
    assert (await users["left"].call("DELETE", f"{path}/left")).status_code == 204
    assert (
        await owner.post(f"/v1/chats/{chat}/messages", {"id": new_message_id(), "body": {"text": "안녕"}})
    ).status_code == 201
    return chat


@asynccontextmanager
async def running_world(tmp_path: Path, stores: Stores) -> AsyncIterator[World]:
    async with running_api(tmp_path, stores, login_handle_burst=10_000, login_lock_after=10_000, api_burst=1e9) as api:
        hash_ = await api.parts.passwords.hash(PASSWORD)
        await stores.users.add(Person("root", "관리자", hash_, now(), admin=True))
        users = {name: await api.user(name) for name in (*INSIDE, "stranger", "left", "target")}
        users["root"] = await api.sign_in("root")
        chat = await new_chat(users)
        await users["owner"].call("PUT", "/v1/push-tokens/owner:token", json={"platform": "web"})
        letter = DeadLetter("letter-1", topics.send(chat, "owner"), b"{}", "it could not be read", 3, now())
        await stores.dead_letters.add(letter)
        link = (await users["owner"].post(f"/v1/chats/{chat}/invitations", {})).json()["id"]
        ids = {"chat": chat, "user": "target", "token": "owner:token", "letter": "letter-1", "link": link}
        ids |= {"client": "target", "broadcast": new_message_id()}
        (said,) = await stores.messages.before(chat, None, 1)
        ids["message"] = said.id
        await users["owner"].post("/v1/devices", {"name": "온도계", "id": "dev-world"})
        await stores.service_accounts.add(ServiceAccount("svc-world", "가게", ["introspect"], "ab" * 32, now(), "root"))
        (grant,) = await stores.grants.of_user("owner", limit=1)
        ids |= {
            "session": grant.sid,
            "device": "dev-world",
            "service_id": "svc-world",
            "provider": "corp",
        }
        yield World(api, users, ids)
