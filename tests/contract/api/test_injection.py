"""What looks like a query of the database, and fields that are not the caller's, through every route that takes any, on a real MongoDB.

The places come from OpenAPI and `route_rules.py`: a new route is tried as soon as it has its rule.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
from pymongo import MongoClient

from api.testing import PASSWORD
from tests.contract.api.route_rules import RULES, Who
from tests.contract.api.world import World, filled, new_chat

pytestmark = pytest.mark.parametrize("stores", ["mongo"], indirect=True)

OPERATORS: list[Any] = [
    {"$gt": ""},
    {"$gte": ""},
    {"$ne": None},
    {"$nin": []},
    {"$in": ["owner"]},
    {"$exists": True},
    {"$regex": ".*"},
    {"$regex": "^o", "$options": "i"},
    {"$not": {"$eq": "x"}},
    {"$or": [{}, {"_id": "owner"}]},
    {"$where": "return true"},
    {"$expr": {"$eq": [1, 1]}},
    {"$function": {"body": "function() { return true }", "args": [], "lang": "js"}},
    {"$jsonSchema": {}},
    {"$set": {"admin": True}},
    {"$type": "string"},
    {"$oid": "5f43a1b2c3d4e5f6a7b8c9d0"},
    {"$ref": "users", "$id": "owner"},
    {"$lookup": {"from": "users", "as": "x"}},
    {"$merge": "users"},
    {"_id": {"$ne": ""}},
    {"__proto__": {"admin": True}},
    [{"$gt": ""}],
    [["owner"]],
]
TEXTS = [
    '{"$gt":""}',
    '{"$ne":null}',
    "$where",
    "$ne",
    "$$ROOT",
    "$owner",
    "[$ne]",
    "' || '1'=='1",
    "'; return true; var a='",
    "' || this.admin || '",
    "';sleep(5000);'",
    '";db.users.drop();//',
    "' OR 1=1 --",
    "owner' && this.password_hash.match(/./) && 'a'=='a",
    ".*",
    "^own",
    "(?i)OWNER",
    "own.*",
    "*",
    "owner\x00",
    "owner\n",
    "owner,password_hash",
    "a.$.b",
    "__proto__",
    "constructor[prototype]",
    "%24ne",
    "owner%00",
    "../users/owner",
    "{{7*7}}",
    "${jndi:ldap://127.0.0.1/a}",
    '<!--#exec cmd="id"-->',
    "\u2024owner",
]
FREE = {"title", "name", "display_name", "password", "new_password"}
"""Fields that hold any text: it is stored as it is, and means nothing."""

MARK = "mass-assigned"
FOREIGN: dict[str, Any] = {
    **dict.fromkeys(("admin", "is_admin", "isAdmin", "disabled", "banned", "verified", "staff", "superuser"), True),
    **dict.fromkeys(
        ("seq", "n", "last_seq", "last_n", "joined_seq", "delivered_seq", "seen_seq", "seen_n", "unread"), 777_777
    ),
    **dict.fromkeys(
        ("id_", "_id", "owner", "owner_id", "user", "user_id", "sender", "sender_id", "chat_id", "created_by"), MARK
    ),
    **dict.fromkeys(("password_hash", "secret", "secret_hash", "sid", "scope", "peer", "status", "permissions"), MARK),
    **dict.fromkeys(
        ("created_at", "at", "joined_at", "left_at", "edited_at", "deleted_at", "push"), "2001-01-01T00:00:00Z"
    ),
    "roles": ["owner", MARK],
    "$set": {"admin": True, "x": MARK},
    "__proto__": {"admin": True, "x": MARK},
    "constructor": {"prototype": {"admin": True}},
    "settings.retention": MARK,
}


def test_there_are_enough(stores: Any) -> None:
    del stores
    assert len(OPERATORS) + len(TEXTS) >= 50
    assert len(FOREIGN) >= 35


def with_body() -> Iterator[tuple[tuple[str, str], dict[str, Any]]]:
    for route, rule in RULES.items():
        if rule.body is not None and (body := rule.body()):
            yield route, body


async def snapshot(world: World) -> list[str]:
    """What its owner, and an administrator, see of a chat that nobody touches."""
    chat = world.ids["chat"]
    paths = ("/v1/me", f"/v1/chats/{chat}", f"/v1/chats/{chat}/members", f"/v1/chats/{chat}/messages", "/v1/devices")
    found = [(await world.users["owner"].get(path)).text for path in paths]
    return [*found, (await world.users["root"].get("/v1/me")).text, (await world.users["stranger"].get("/v1/me")).text]


async def own_ids(world: World) -> dict[str, str]:
    """A chat of `stranger`, with everybody in it: what they may do there is not the question."""
    stranger = world.users["stranger"]
    wish = {"kind": "group", "title": "집", "members": ["target"]}
    chat = (await stranger.post("/v1/chats", wish)).json()["id"]
    return world.ids | {"chat": chat, "token": "stranger:token"}


async def test_operators_in_bodies(world: World) -> None:
    before, ids = await snapshot(world), await own_ids(world)
    for (method, path), body in with_body():
        for name in body:
            for vector in (*OPERATORS, *TEXTS):
                answer = await world.users["stranger"].call(method, filled(path, ids), json=body | {name: vector})
                where = (method, path, name, vector, answer.text)
                assert answer.status_code < 500, where
                if not (isinstance(vector, str) and name in FREE):
                    assert answer.status_code in {403, 404, 422}, where
    assert await snapshot(world) == before


async def test_operators_in_paths_and_queries(world: World) -> None:
    before, ids = await snapshot(world), await own_ids(world)
    for (method, path), rule in RULES.items():
        if rule.who is Who.ANYBODY:
            continue
        body = {} if rule.body is None else {"json": rule.body()}
        for name in [name for name in ids if "{" + name + "}" in path]:
            for text in TEXTS:
                where = filled(path, ids | {name: quote(text, safe="")})
                answer = await world.users["stranger"].call(method, where, **body)
                assert answer.status_code in {204, 403, 404, 422} or (name == "token"), (method, where, answer.text)
        if method == "get":
            for parameter in ("after", "cursor", "limit", "before", *rule.query):
                for key in (parameter, f"{parameter}[$ne]", f"{parameter}[$regex]", f"{parameter}[]"):
                    answer = await world.users["stranger"].get(filled(path, ids), **{key: '{"$gt":""}'})
                    assert answer.status_code in {200, 403, 404, 422}, (path, key, answer.text)
    assert await snapshot(world) == before


async def test_operators_open_no_account(world: World) -> None:
    client = world.api.client
    for vector in (*map(json.dumps, OPERATORS), *TEXTS):
        forms = [
            {"grant_type": "password", "username": vector, "password": PASSWORD},
            {"grant_type": "password", "username": "owner", "password": vector},
            {"grant_type": "password", "username[$ne]": "x", "password[$ne]": "x"},
            {"grant_type": "refresh_token", "refresh_token": vector},
            {"grant_type": vector, "username": "owner", "password": PASSWORD},
        ]
        for form in forms:
            answer = await client.post("/v1/auth/token", data=form)
            assert answer.status_code in {401, 422, 429}, (form, answer.text)
    for vector in OPERATORS:
        body = {"grant_type": "password", "username": vector, "password": vector}
        assert (await client.post("/v1/auth/token", json=body)).status_code == 422


async def test_fields_that_are_not_the_callers(world: World, mongo_url: str, stores_database: str) -> None:
    """Refused; or, where the reader of a format ignores what it doesn't know, without any effect."""
    before, document = await snapshot(world), (await world.api.client.get("/openapi.json")).json()
    for route, rule in RULES.items():
        if rule.body is None or rule.who is Who.ANYBODY or rule.who >= Who.MODERATOR:
            continue
        method, path = route
        described = fields(document, method, path)
        caller = "owner" if rule.who > Who.MEMBER else "stranger"
        ids = world.ids | {"chat": await new_chat(world.users)} if caller == "owner" else await own_ids(world)
        for name, value in FOREIGN.items():
            if name in described:
                continue
            answer = await world.users[caller].call(method, filled(path, ids), json=rule.body() | {name: value})
            assert answer.status_code in {200, 201, 422}, (route, name, answer.text)
            if answer.status_code != 422:
                assert MARK not in answer.text, (route, name)
                assert answer.json().get(name) != value, (route, name, answer.text)
        me = (await world.users[caller].get("/v1/me")).json()
        assert (me["id"], me["admin"]) == (caller, False), route
    assert await snapshot(world) == before
    with MongoClient[dict[str, Any]](mongo_url) as mongo:
        database = mongo[stores_database]
        stored = [repr(row) for name in database.list_collection_names() for row in database[name].find({})]
    assert stored
    assert not [row for row in stored if MARK in row or "777777" in row]


async def test_registering_with_fields_that_are_not_the_callers(world: World) -> None:
    for place, (name, value) in enumerate(FOREIGN.items()):
        wish = {"handle": f"new{place}", "password": PASSWORD, "display_name": "새", name: value}
        answer = await world.api.client.post("/v1/auth/register", json=wish)
        assert answer.status_code == 422, (name, answer.text)
        assert await world.api.stores.users.get(f"new{place}") is None


def fields(document: dict[str, Any], method: str, path: str) -> set[str]:
    """The properties that OpenAPI gives the body of a route."""
    schema = document["paths"][path][method]["requestBody"]["content"]["application/json"]["schema"]
    name = schema.get("$ref", "").rpartition("/")[2]
    return set(document["components"]["schemas"][name]["properties"] if name else schema["properties"])
