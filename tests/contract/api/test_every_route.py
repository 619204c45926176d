"""Every route by every role with foreign ids, generated from OpenAPI and `route_rules.py`: refusals are alike, and tell nothing of what is there."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx

from api.app import create_app
from api.clock import now
from api.settings import Settings
from api.testing import User
from chat.models import User as Person
from tests.contract.api.route_rules import RULES, Rule, Who, opening
from tests.contract.api.world import INSIDE, MISSING, OUTSIDE, World, new_chat


def routes(**wanted: Any) -> Iterator[tuple[str, str]]:
    for route, rule in RULES.items():
        if all(getattr(rule, name) in values for name, values in wanted.items()):
            yield route


CHAT_ROUTES = list(routes(who=set(INSIDE.values())))
ADMIN_ROUTES = list(routes(who={Who.ADMINISTRATOR, Who.MODERATOR}))
OWN_ROUTES = list(routes(who={Who.SIGNED_IN}))


def alike(*answers: httpx.Response) -> None:
    """The same but for what the caller said (the path), the request's ids, how often they asked, and the length of the two."""
    told = []
    for answer in answers:
        body = answer.json() if answer.content else None
        if isinstance(body, dict):
            body.pop("instance", None)
        kept = {"x-request-id", "traceparent", "ratelimit", "content-length", "date"}
        told.append((answer.status_code, {k: v for k, v in answer.headers.items() if k not in kept}, body))
    assert all(one == told[0] for one in told), told


def test_every_route_has_a_rule(tmp_path: Path) -> None:
    chosen = {"mongo_url": "x", "link_secret_file": tmp_path, "keys_dir": tmp_path, "jwks_file": tmp_path}
    found = create_app(Settings.model_validate(chosen)).openapi()
    described = {(method, path) for path, methods in found["paths"].items() for method in methods}
    assert set(RULES) == described, "add the missing routes to tests/contract/api/route_rules.py, take out the others"
    parameters = {
        parameter["name"]
        for methods in found["paths"].values()
        for operation in methods.values()
        for parameter in operation.get("parameters", [])
        if parameter["in"] == "path"
    }
    assert parameters == set(MISSING), "World.ids and MISSING need an id of each kind"


async def test_without_a_token(world: World) -> None:
    for route, rule in RULES.items():
        answers = [await world.call(None, route, ids) for ids in (world.ids, world.ids | MISSING)]
        if rule.who is Who.ANYBODY:
            assert all(answer.status_code != 401 or route[1] == "/v1/auth/token" for answer in answers), route
            continue
        assert (answers[0].status_code, answers[0].json()["code"]) == (401, "unauthenticated"), route
        alike(*answers)


async def test_a_chat_of_others_is_no_chat(world: World) -> None:
    """Equal bodies for "not yours" and "not there", whoever asks from outside; also when the rest of the path is not there."""
    assert len(CHAT_ROUTES) >= 9
    for route in CHAT_ROUTES:
        foreign = [{}, {"user": MISSING["user"]}, MISSING]
        foreign += [{"chat": chat} for chat in (MISSING["chat"], "d-" + "0" * 32, "x" * 65)]
        answers = [
            await world.call(who, route, world.ids | ids) for who in OUTSIDE for ids in (*foreign, {"user": who})
        ]
        assert (answers[0].status_code, answers[0].json()["code"]) == (404, "unknown_chat"), route
        alike(*answers)


async def test_roles_in_a_chat(world: World) -> None:
    """Who has less than the rule asks for gets 403, who has enough does not."""
    for route in CHAT_ROUTES:
        for who, rank in INSIDE.items():
            ids = world.ids | {"chat": await new_chat(world.users)}
            answer = await world.call(who, route, ids)
            if rank < RULES[route].who:
                assert answer.status_code == 403, (route, who, answer.text)
            else:
                assert answer.status_code not in {401, 403}, (route, who, answer.text)
                assert answer.status_code < 300 or answer.json()["code"] != "unknown_chat", (route, who, answer.text)


async def test_administration_is_for_administrators(world: World) -> None:
    """The role is looked at before the ids: nobody else learns what is there. An administrator is not refused."""
    for route in ADMIN_ROUTES:
        others = [who for who in world.users if who != "root"]
        answers = [await world.call(who, route, ids) for who in others for ids in (world.ids, MISSING)]
        assert (answers[0].status_code, answers[0].json()["code"]) == (403, "admin_only"), route
        alike(*answers)
        assert (await world.call("root", route, MISSING)).status_code in {200, 201, 204, 404, 422}, route


async def test_moderators(world: World) -> None:
    """What is for moderators is refused to no moderator, what is for administrators is refused to them as to everybody."""
    await world.api.user("keeper")
    await world.api.stores.admin.set_rank("keeper", admin=False, moderator=True)
    world.users["keeper"] = await world.api.sign_in("keeper")
    for route in ADMIN_ROUTES:
        answers = [await world.call("keeper", route, ids) for ids in (MISSING, world.ids)]
        if RULES[route].who is Who.MODERATOR:
            assert all(one.status_code < 500 and "admin_only" not in one.text for one in answers), route
        else:
            alike(*answers, await world.call("member", route, MISSING))


async def test_what_is_for_services_is_for_no_user(world: World) -> None:
    for route in routes(who={Who.SERVICE}):
        answers = [await world.call(who, route, ids) for who in world.users for ids in (world.ids, MISSING)]
        assert answers[0].status_code == 403, route
        alike(*answers)


async def test_programs_open_what_their_scopes_name(world: World) -> None:
    """Every route by every scope: what a scope does not name is refused alike, whatever is there, and nobody's chat or device is open to any."""
    for scope in ("introspect", "admin:read", "moderate", "admin"):
        world.users[scope] = await program(world, f"svc-{scope.replace(':', '-')}", scope)
    for route, rule in RULES.items():
        if rule.who is Who.ANYBODY:
            continue
        for scope in ("introspect", "admin:read", "moderate", "admin"):
            if scope in opening(route):
                answer = await world.call(scope, route, MISSING)
                assert answer.status_code in {200, 201, 204, 404, 422}, (route, scope, answer.text)
                continue
            answers = [await world.call(scope, route, ids) for ids in (world.ids, MISSING)]
            assert (answers[0].status_code, answers[0].json()["code"]) == (403, "insufficient_scope"), (route, scope)
            alike(*answers)


async def program(world: World, id_: str, scope: str) -> User:
    """A service account with a scope, signed in."""
    made = await world.users["root"].post("/v1/admin/services", {"id": id_, "name": "가게", "scopes": [scope]})
    form = {"grant_type": "client_credentials", "client_id": id_, "client_secret": made.json()["secret"]}
    return User(world.api.client, id_, (await world.api.client.post("/v1/auth/token", data=form)).json())


async def test_what_belongs_to_others_looks_like_nothing(world: World) -> None:
    """Routes for everybody who is signed in: a foreign id is answered as one that nobody has. Profiles are for all."""
    for route in OWN_ROUTES:
        if RULES[route].public:
            continue
        if "{" not in route[1] + "".join(RULES[route].query.values()):
            assert (await world.call("stranger", route, world.ids)).status_code not in {401, 403}, route
            continue
        answers = [await world.call("stranger", route, ids) for ids in (world.ids, MISSING)]
        assert answers[0].status_code not in {401, 403}, route
        texts = [answer.text for answer in answers]
        for name in sorted(MISSING, key=lambda name: -len(world.ids[name])):  # one may be a part of another
            texts = [text.replace(world.ids[name], name).replace(MISSING[name], name) for text in texts]
        assert texts[0] == texts[1], route
        assert answers[0].status_code == answers[1].status_code, route


async def test_a_disabled_user_is_nobody(world: World) -> None:
    found = await world.api.stores.users.get("left")
    assert found is not None
    route = ("get", "/v1/users/{user}")
    assert (await world.call("stranger", route, {"user": "left"})).status_code == 200
    hash_ = found.password_hash
    await world.api.stores.users.add(Person("banned", "없는 사람", hash_, now(), disabled=True))
    alike(*[await world.call("stranger", route, {"user": user}) for user in ("banned", "nobody", "dev-x", "%23")])


async def test_ids_of_others_within_bodies(world: World) -> None:
    """Devices of others can't be brought along, and that they are there is not told."""
    made = await world.users["owner"].post("/v1/devices", {"name": "온도계", "id": "dev-owner"})
    assert made.status_code == 201
    for who in ("stranger", "manager"):
        chat = (await world.users[who].post("/v1/chats", {"kind": "group", "title": "집", "members": []})).json()["id"]
        for path, wish in (("/v1/chats", {"kind": "group", "title": "집"}), (f"/v1/chats/{chat}/members", {})):
            answers = []
            for device in ("dev-owner", "dev-nobody"):
                answer = await world.users[who].post(path, wish | {"members": [device]})
                assert answer.status_code == 404
                answers.append(answer.text.replace(device, "…"))
            assert answers[0] == answers[1]


def test_the_rules_are_tried() -> None:
    tried = len(CHAT_ROUTES) + len(ADMIN_ROUTES) + len(OWN_ROUTES) + len(list(routes(who={Who.SERVICE})))
    assert tried == sum(rule.who > 0 for rule in RULES.values())
    assert isinstance(RULES["get", "/v1/me"], Rule)
