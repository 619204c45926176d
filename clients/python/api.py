"""`PabalApi`: the REST API, for one user."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from typing import Any, Literal, Self, TypeVar
from urllib.parse import quote

import httpx
import msgspec

from chat.envelopes import Body, Event, Reset, Send, SyncPage, Type, encode
from chat.ids import check_message_id, new_message_id
from clients.python.errors import ApiError, Unreachable
from clients.python.records import (
    Account,
    ChatInfo,
    ChatList,
    DeviceInfo,
    DeviceList,
    History,
    MemberInfo,
    MemberList,
    Pins,
    SyncItems,
    Tokens,
    read_sync_item,
)

REFRESH_EARLY = 60.0
"""Seconds before its end that an access token is replaced: clocks differ, and a connection takes a moment to be made."""

T = TypeVar("T")


class PabalApi:
    """Safe to use from several threads. Every method may raise `ApiError` (the server said no) and `Unreachable` (no answer).

    Args:
        url: of the API, such as `http://127.0.0.1:8080`.
        timeout: seconds per request.
        transport: for tests: what carries the requests instead of the network.
    """

    def __init__(self, url: str, *, timeout: float = 15.0, transport: httpx.BaseTransport | None = None) -> None:
        self._http = httpx.Client(base_url=url, timeout=timeout, transport=transport)
        self._lock = threading.Lock()
        self._tokens: Tokens | None = None
        self._expires = 0.0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def register(self, handle: str, password: str, display_name: str) -> Account:
        """Register a user (and do not sign in). Code of a taken handle: `handle_taken`."""
        wish = {"handle": handle, "password": password, "display_name": display_name}
        return self._call("POST", "/v1/auth/register", Account, json=wish, signed=False)

    def login(self, handle: str, password: str) -> Tokens:
        """Sign in; from then on requests are this user's. Code of wrong credentials: `invalid_grant`."""
        form = {"grant_type": "password", "username": handle, "password": password}
        with self._lock:
            return self._keep(self._call("POST", "/v1/auth/token", Tokens, data=form, signed=False))

    def refresh(self) -> Tokens:
        """Trade the refresh token for new tokens. `token` does it when it is time."""
        with self._lock:
            return self._refresh()

    def token(self) -> str:
        """A valid access token, refreshed when the one in hand is about to end: what `ChatClient(token=…)` takes."""
        with self._lock:
            if self._tokens is None:
                raise ApiError(401, "unauthenticated", "not signed in: call login first")
            if time.monotonic() >= self._expires:
                self._refresh()
            return self._tokens.access_token

    def me(self) -> Account:
        """The signed-in user."""
        return self._call("GET", "/v1/me", Account)

    def hide_seen(self, *, hides: bool) -> Account:
        """Neither show to others what this user has seen, nor see it of them; or both again."""
        return self._call("PATCH", "/v1/me", Account, json={"hides_seen": hides})

    def create_chat(
        self, kind: Literal["direct", "group"], members: Sequence[str], *, title: str | None = None
    ) -> ChatInfo:
        """Open a chat with `members` (handles, and devices of this user's); the caller is a member anyway.

        A direct chat of a pair exists once: asking again answers the same.
        """
        wish: dict[str, Any] = {"kind": kind, "members": list(members)}
        if title is not None:
            wish["title"] = title
        return self._call("POST", "/v1/chats", ChatInfo, json=wish)

    def chats(self, *, cursor: str | None = None, limit: int = 50) -> ChatList:
        """This user's chats with unread counts and last messages."""
        return self._call("GET", "/v1/chats", ChatList, params={"cursor": cursor, "limit": limit})

    def members(self, chat: str, *, after: str | None = None, limit: int = 100) -> MemberList:
        """Present members."""
        return self._call("GET", f"{_chat(chat)}/members", MemberList, params={"after": after, "limit": limit})

    def add_members(self, chat: str, members: Sequence[str]) -> list[MemberInfo]:
        """Bring users, or devices of this user's, into a group."""
        return self._call("POST", f"{_chat(chat)}/members", MemberList, json={"members": list(members)}).items

    def remove_member(self, chat: str, user: str) -> None:
        """Take a member out of a group, or leave it."""
        self._request("DELETE", f"{_chat(chat)}/members/{quote(user, safe='')}")

    def set_role(self, chat: str, user: str, role: Literal["admin", "member", "reader"]) -> MemberInfo:
        """Give a member of a group another role; the owner does."""
        path = f"{_chat(chat)}/members/{quote(user, safe='')}"
        return self._call("PATCH", path, MemberList, json={"role": role}).items[0]

    def rename(self, chat: str, title: str | None) -> ChatInfo:
        """Give a group another title, or none; who manages it does."""
        return self._call("PATCH", _chat(chat), ChatInfo, json={"title": title})

    def pins(self, chat: str) -> list[Event]:
        """What is pinned, the last pinned first. Pinning is a message of type `pin`, as unpinning is `unpin`."""
        return self._call("GET", f"{_chat(chat)}/pins", Pins).items

    def history(self, chat: str, *, after: int | None = None, before: int | None = None, limit: int = 50) -> History:
        """Events in order of `seq`: the newest ones, those behind `after`, or the newest before `before`.

        A chat that this user is no member of is `unknown_chat`, whether it exists or not.
        """
        params = {"after": after, "before": before, "limit": limit}
        return self._call("GET", f"{_chat(chat)}/messages", History, params=params)

    def send(
        self,
        chat: str,
        *,
        text: str | None = None,
        body: Body | None = None,
        id: str | None = None,  # noqa: A002  # the contract's own word for it
        type: Type = "message",  # noqa: A002
        target: str | None = None,
        reply_to: str | None = None,
    ) -> Event:
        """Send a message; the answer is the stored event (promise P1). An id that was sent before yields its first event (P4).

        After `Unreachable` it is not known whether it is stored: sending the same id again is safe.
        """
        send = Send(
            id=check_message_id(id) if id else new_message_id(),
            type=type,
            body=Body(text=text) if text is not None else body,
            target=target,
            reply_to=reply_to,
        )
        return self._call("POST", f"{_chat(chat)}/messages", Event, content=encode(send))

    def sync(self, cursors: Mapping[str, int], *, limit: int = 100) -> list[SyncPage | Reset]:
        """What was missed behind the last `seq` of each chat: a page or a reset per cursor. Over MQTT `ChatClient` does it by itself."""
        params = {"cursor": [f"{chat}:{seq}" for chat, seq in cursors.items()], "limit": limit}
        return [read_sync_item(item) for item in self._call("GET", "/v1/sync", SyncItems, params=params).items]

    def devices(self) -> list[DeviceInfo]:
        """This user's devices."""
        return self._call("GET", "/v1/devices", DeviceList).items

    def create_device(self, name: str, *, device: str | None = None) -> DeviceInfo:
        """Register a device; its `secret` is in this answer and nowhere else.

        Args:
            name: for people.
            device: its id, `dev-…`; the server makes one when it is left out.
        """
        wish = {"name": name} if device is None else {"name": name, "id": device}
        return self._call("POST", "/v1/devices", DeviceInfo, json=wish)

    def put_push_token(self, token: str, platform: Literal["android", "ios", "web"] = "android") -> None:
        """Have pushes for this user sent to this installation (an FCM registration token)."""
        self._request("PUT", f"/v1/push-tokens/{quote(token, safe='')}", json={"platform": platform})

    def delete_push_token(self, token: str) -> None:
        """Have no pushes sent there any more."""
        self._request("DELETE", f"/v1/push-tokens/{quote(token, safe='')}")

    def _keep(self, tokens: Tokens) -> Tokens:
        self._tokens = tokens
        self._expires = time.monotonic() + max(0.0, tokens.expires_in - REFRESH_EARLY)
        return tokens

    def _refresh(self) -> Tokens:
        if self._tokens is None:
            raise ApiError(401, "unauthenticated", "not signed in: call login first")
        form = {"grant_type": "refresh_token", "refresh_token": self._tokens.refresh_token}
        return self._keep(self._call("POST", "/v1/auth/token", Tokens, data=form, signed=False))

    def _call(self, method: str, path: str, kind: type[T], *, signed: bool = True, **request: Any) -> T:
        answer = self._request(method, path, signed=signed, **request)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as error:
            raise ApiError(answer.status_code, "unexpected_answer", f"{method} {path}: {error}") from None

    def _request(
        self, method: str, path: str, *, signed: bool = True, params: Mapping[str, Any] | None = None, **request: Any
    ) -> httpx.Response:
        headers = {"Authorization": f"Bearer {self.token()}"} if signed else {}
        if "content" in request:
            headers["Content-Type"] = "application/json"
        given = {name: value for name, value in (params or {}).items() if value is not None}
        try:
            answer = self._http.request(method, path, headers=headers, params=given, **request)
        except httpx.TransportError as error:
            raise Unreachable(f"{method} {path}: {type(error).__name__}") from error
        if answer.is_success:
            return answer
        raise _problem(answer)


def _chat(chat: str) -> str:
    return f"/v1/chats/{quote(chat, safe='')}"


def _problem(answer: httpx.Response) -> ApiError:
    try:
        problem = answer.json()
        code, detail = str(problem["code"]), str(problem["detail"])
    except (ValueError, KeyError, TypeError):
        code, detail = f"http_{answer.status_code}", answer.reason_phrase
    wait = answer.headers.get("Retry-After", "")
    return ApiError(answer.status_code, code, detail, retry_after=float(wait) if wait.isdigit() else None)
