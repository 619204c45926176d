"""REST: paths, tokens, errors; against a transport that answers from a script."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import httpx
import pytest

from chat.envelopes import Reset, SyncPage
from chat.ids import new_message_id
from clients.python import ApiError, PabalApi, Unreachable

TOKENS = {"access_token": "a1", "token_type": "bearer", "expires_in": 900, "refresh_token": "r1", "scope": "user"}
ME = {"id": "haneul", "display_name": "김하늘", "admin": False, "created_at": "2026-05-04T03:02:01.123Z"}
EVENT = {"type": "message", "id": "x", "chat": "g-1", "seq": 1, "n": 1, "sender": "haneul", "at": ME["created_at"]}


class Server:
    """Answers each `METHOD path` as the script says, and remembers what was asked."""

    def __init__(self, **answers: Any) -> None:
        self.asked: list[httpx.Request] = []
        self.answers: dict[str, Any] = {"POST /v1/auth/token": TOKENS, **answers}

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.asked.append(request)
        answer = self.answers[f"{request.method} {request.url.path}"]
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, httpx.Response) else httpx.Response(200, json=answer)


def signed_in(server: Server) -> PabalApi:
    api = PabalApi("http://api.test", transport=httpx.MockTransport(server))
    api.login("haneul", "비밀번호")
    return api


def test_login_is_an_oauth2_form_and_requests_carry_the_token() -> None:
    server = Server(**{"GET /v1/me": ME})
    api = signed_in(server)
    assert api.me().display_name == "김하늘"
    login, me = server.asked
    assert dict(httpx.QueryParams(login.content.decode())) == {
        "grant_type": "password",
        "username": "haneul",
        "password": "비밀번호",
    }
    assert "authorization" not in login.headers
    assert me.headers["authorization"] == "Bearer a1"


def test_a_token_that_is_about_to_end_is_refreshed_first() -> None:
    server = Server(**{"POST /v1/auth/token": {**TOKENS, "expires_in": 59}})
    api = signed_in(server)
    server.answers["POST /v1/auth/token"] = {**TOKENS, "access_token": "a2", "refresh_token": "r2"}
    assert api.token() == "a2"
    assert api.token() == "a2"
    assert len(server.asked) == 2
    assert "refresh_token=r1" in server.asked[1].content.decode()
    api.refresh()
    assert "refresh_token=r2" in server.asked[2].content.decode()


@pytest.mark.parametrize("call", [PabalApi.token, PabalApi.refresh, PabalApi.me])
def test_nothing_without_a_login(call: Callable[[PabalApi], object]) -> None:
    with pytest.raises(ApiError, match="call login first"):
        call(PabalApi("http://api.test", transport=httpx.MockTransport(Server())))


def test_a_problem_becomes_an_api_error() -> None:
    problem = {"status": 404, "code": "unknown_chat", "detail": "there is no such chat, or you are not in it"}
    server = Server(**{"GET /v1/chats/g-1/messages": httpx.Response(404, json=problem)})
    with pytest.raises(ApiError) as raised:
        signed_in(server).history("g-1")
    assert (raised.value.status, raised.value.code, raised.value.detail) == (404, "unknown_chat", problem["detail"])


@pytest.mark.parametrize("body", [b"<html>", b"[]", b'{"code": 1}', b'"x"'])
def test_an_answer_that_is_no_problem_document_is_an_api_error_too(body: bytes) -> None:
    refusal = httpx.Response(429, content=body, headers={"Retry-After": "7"})
    with pytest.raises(ApiError) as raised:
        signed_in(Server(**{"GET /v1/me": refusal})).me()
    assert (raised.value.status, raised.value.code, raised.value.retry_after) == (429, "http_429", 7.0)


def test_an_answer_of_another_shape_is_an_api_error() -> None:
    with pytest.raises(ApiError, match="unexpected_answer"):
        signed_in(Server(**{"GET /v1/me": {"id": 1}})).me()


def test_no_answer_is_unreachable() -> None:
    with pytest.raises(Unreachable, match="ConnectError"):
        signed_in(Server(**{"GET /v1/me": httpx.ConnectError("refused")})).me()


def test_history_names_only_the_bounds_that_are_given() -> None:
    item = {**EVENT, "status": "SEEN", "delivered_at": EVENT["at"], "seen_at": EVENT["at"], "from": "the future"}
    server = Server(**{"GET /v1/chats/g-1/messages": {"items": [item], "next": 1, "prev": None}})
    page = signed_in(server).history("g-1", after=0, limit=5)
    assert dict(server.asked[-1].url.params) == {"after": "0", "limit": "5"}
    assert page.items[0].status == "SEEN"
    assert page.items[0].seen_at == page.items[0].at
    assert page.next == 1


def test_send_is_the_envelope() -> None:
    message_id = new_message_id()
    server = Server(**{"POST /v1/chats/g-1/messages": httpx.Response(201, json=EVENT)})
    assert signed_in(server).send("g-1", text="안녕", id=message_id).seq == 1
    sent = server.asked[-1]
    assert json.loads(sent.content) == {"id": message_id, "body": {"text": "안녕"}}
    assert sent.headers["content-type"] == "application/json"


def test_sync_tells_pages_from_resets() -> None:
    page = {"type": "sync", "chat": "g-1", "events": [EVENT], "next": 1, "limited": False, "last": 1}
    reset = {"type": "reset", "chat": "g-2", "reason": "unknown_chat"}
    server = Server(**{"GET /v1/sync": {"items": [page, reset]}})
    one, other = signed_in(server).sync({"g-1": 0, "g-2": 5})
    assert server.asked[-1].url.params.get_list("cursor") == ["g-1:0", "g-2:5"]
    assert isinstance(one, SyncPage)
    assert one.events[0].seq == 1
    assert other == Reset("g-2", "unknown_chat")


def test_the_other_routes() -> None:
    chat = {"id": "d-1", "kind": "direct", "title": None, "unread": 2}
    members = {"items": [{"user": "bada", "role": "member"}], "next": None}
    device = {"id": "dev-1", "name": "온도계", "created_at": ME["created_at"]}
    empty = httpx.Response(204)
    server = Server(
        **{
            "POST /v1/auth/register": ME,
            "PATCH /v1/me": {**ME, "hides_seen": True},
            "POST /v1/chats": chat,
            "GET /v1/chats": {"items": [chat], "next": None},
            "GET /v1/chats/d-1/members": members,
            "POST /v1/chats/d-1/members": members,
            "DELETE /v1/chats/d-1/members/bada": empty,
            "PATCH /v1/chats/d-1/members/bada": members,
            "PATCH /v1/chats/d-1": {**chat, "title": "산"},
            "GET /v1/chats/d-1/pins": {"items": [EVENT]},
            "POST /v1/devices": {**device, "secret": "s"},
            "GET /v1/devices": {"items": [device]},
            "PUT /v1/push-tokens/a:b/c": empty,
            "DELETE /v1/push-tokens/a:b/c": empty,
        }
    )
    with signed_in(server) as api:
        assert api.register("haneul", "비밀번호", "김하늘").id == "haneul"
        assert api.create_chat("direct", ["bada"]).id == "d-1"
        assert json.loads(server.asked[-1].content) == {"kind": "direct", "members": ["bada"]}
        assert api.chats().items[0].unread == 2
        assert api.members("d-1").items[0].user == "bada"
        assert api.add_members("d-1", ["bada"])[0].role == "member"
        api.remove_member("d-1", "bada")
        assert api.hide_seen(hides=True).hides_seen
        assert api.set_role("d-1", "bada", "admin").user == "bada"
        assert json.loads(server.asked[-1].content) == {"role": "admin"}
        assert api.rename("d-1", "산").title == "산"
        assert [event.seq for event in api.pins("d-1")] == [1]
        assert api.create_device("온도계", device="dev-1").secret == "s"
        assert api.devices()[0].secret is None
        api.put_push_token("a:b/c", "ios")
        assert server.asked[-1].url.raw_path == b"/v1/push-tokens/a%3Ab%2Fc"
        api.delete_push_token("a:b/c")
