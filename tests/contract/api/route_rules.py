"""Who may call which route: one rule per route of OpenAPI. `test_every_route.py` tries each with every role and with foreign ids.

A new route needs a line here; the test says so. `Who` is the least that is needed; whoever has less is refused as `Who` tells.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

from chat.ids import new_message_id


class Who(IntEnum):
    """Least of the callers that are not refused."""

    ANYBODY = 0
    """Without a token."""
    SIGNED_IN = 1
    """Any user. Ids in the path may belong to others: the answer for those is the answer for ids that nobody has."""
    READER = 2
    """In the chat of the path. Others get 404 `unknown_chat`, as for a chat that is not there."""
    MEMBER = 3
    """As before, and may write: a reader gets 403."""
    MANAGER = 4
    """Owner or admin of the chat: a member gets 403."""
    OWNER = 5
    """Of the chat: an admin of it gets 403."""
    SERVICE = 8
    """A service account: every user gets the same 403."""
    MODERATOR = 9
    """Of the system: every user below gets 403 `admin_only`, whatever the path names."""
    ADMINISTRATOR = 10
    """Likewise, moderators included."""


Body = Callable[[], dict[str, Any]]


@dataclass(frozen=True)
class Rule:
    """One route.

    Attributes:
        who: see `Who`.
        body: makes a well-formed JSON body; None where there is none. `{name}` in a text is replaced as in the path.
        form: a form instead of a body.
        query: parameters that are required.
        public: the path names users, whom everybody who is signed in may know; so it tells who is there and who is not.
    """

    who: Who
    body: Body | None = None
    form: dict[str, str] = field(default_factory=dict)
    query: dict[str, str] = field(default_factory=dict)
    public: bool = False


def _send() -> dict[str, Any]:
    return {"id": new_message_id(), "body": {"text": "안녕하세요"}}


def _fixed(**body: Any) -> Body:
    return lambda: body


_MESSAGE = "/v1/chats/{chat}/messages/{message}"
_LETTER = "/v1/admin/dead-letters/{letter}"
_ADMIN, _KEEPER = Who.ADMINISTRATOR, Who.MODERATOR
_WHY = {"reason": "욕설 신고 3건"}

RULES: dict[tuple[str, str], Rule] = {
    ("post", "/v1/auth/register"): Rule(
        Who.ANYBODY, _fixed(handle="newcomer", password="파발은 밤에도 달린다", display_name="새")
    ),
    ("post", "/v1/auth/token"): Rule(Who.ANYBODY, form={"grant_type": "refresh_token", "refresh_token": "x"}),
    ("post", "/v1/auth/revoke"): Rule(Who.ANYBODY, form={"token": "x"}),
    ("get", "/v1/auth/oidc"): Rule(Who.ANYBODY),
    ("post", "/v1/auth/oidc/{provider}/start"): Rule(Who.ANYBODY, _fixed(redirect_uri="https://app.example/callback")),
    ("post", "/v1/auth/oidc/{provider}/finish"): Rule(Who.ANYBODY, _fixed(login="x", code="x", state="x")),
    ("post", "/v1/auth/introspect"): Rule(Who.SERVICE, form={"token": "x"}),
    ("get", "/healthz"): Rule(Who.ANYBODY),
    ("get", "/metrics"): Rule(Who.ANYBODY),
    ("get", "/.well-known/jwks.json"): Rule(Who.ANYBODY),
    ("get", "/v1/me"): Rule(Who.SIGNED_IN),
    ("patch", "/v1/me"): Rule(Who.SIGNED_IN, _fixed(hides_seen=False)),
    ("get", "/v1/me/sessions"): Rule(Who.SIGNED_IN),
    ("delete", "/v1/me/sessions"): Rule(Who.SIGNED_IN),
    ("delete", "/v1/me/sessions/{session}"): Rule(Who.SIGNED_IN),
    ("put", "/v1/me/password"): Rule(
        Who.SIGNED_IN, _fixed(current_password="파발은 밤에도 달린다", new_password="파발은 밤에도 달린다")
    ),
    ("get", "/v1/me/second-factor"): Rule(Who.SIGNED_IN),
    ("post", "/v1/me/second-factor/confirm"): Rule(Who.SIGNED_IN, _fixed(code="123456")),
    ("post", "/v1/me/second-factor/remove"): Rule(
        Who.SIGNED_IN, _fixed(password="파발은 밤에도 달린다", code="123456")
    ),
    ("post", "/v1/me/second-factor"): Rule(Who.SIGNED_IN, _fixed(password="파발은 밤에도 달린다")),
    ("get", "/v1/devices/{device}"): Rule(Who.SIGNED_IN),
    ("patch", "/v1/devices/{device}"): Rule(Who.SIGNED_IN, _fixed(name="온도계")),
    ("post", "/v1/devices/{device}/secret"): Rule(Who.SIGNED_IN),
    ("post", "/v1/devices/{device}/certificates"): Rule(Who.SIGNED_IN, _fixed(csr="x")),
    ("get", "/v1/users/{user}"): Rule(Who.SIGNED_IN, public=True),
    ("post", "/v1/chats"): Rule(Who.SIGNED_IN, _fixed(kind="group", title="산", members=[])),
    ("get", "/v1/chats"): Rule(Who.SIGNED_IN),
    ("get", "/v1/sync"): Rule(Who.SIGNED_IN, query={"cursor": "{chat}:0"}),
    ("post", "/v1/devices"): Rule(Who.SIGNED_IN, _fixed(name="온도계")),
    ("get", "/v1/devices"): Rule(Who.SIGNED_IN),
    ("get", "/v1/me/push-preferences"): Rule(Who.SIGNED_IN),
    ("put", "/v1/me/push-preferences"): Rule(Who.SIGNED_IN, _fixed(shows="sender")),
    ("get", "/v1/web-push/key"): Rule(Who.SIGNED_IN),
    ("put", "/v1/web-push/subscriptions"): Rule(
        Who.SIGNED_IN, _fixed(endpoint="https://push.example/1", keys={"p256dh": "x", "auth": "x"})
    ),
    ("put", "/v1/push-tokens/{token}"): Rule(Who.SIGNED_IN, _fixed(platform="web")),
    ("delete", "/v1/push-tokens/{token}"): Rule(Who.SIGNED_IN),
    ("get", "/v1/chats/{chat}"): Rule(Who.READER),
    ("patch", "/v1/chats/{chat}"): Rule(Who.MANAGER, _fixed(title="바다")),
    ("put", "/v1/chats/{chat}/retention"): Rule(Who.MANAGER, _fixed(days=30)),
    ("get", "/v1/chats/{chat}/pins"): Rule(Who.READER),
    ("get", "/v1/chats/{chat}/members"): Rule(Who.READER),
    ("post", "/v1/chats/{chat}/members"): Rule(Who.MANAGER, _fixed(members=["stranger"])),
    ("patch", "/v1/chats/{chat}/members/{user}"): Rule(Who.OWNER, _fixed(role="reader")),
    ("delete", "/v1/chats/{chat}/members/{user}"): Rule(Who.MANAGER),
    ("get", "/v1/chats/{chat}/messages"): Rule(Who.READER),
    ("post", "/v1/chats/{chat}/messages"): Rule(Who.MEMBER, _send),
    ("get", "/v1/users"): Rule(Who.SIGNED_IN, query={"id": "{user}"}, public=True),
    ("get", "/v1/contacts"): Rule(Who.SIGNED_IN),
    ("put", "/v1/contacts/{user}"): Rule(Who.SIGNED_IN, _fixed(name="바다님"), public=True),
    ("delete", "/v1/contacts/{user}"): Rule(Who.SIGNED_IN),
    ("get", "/v1/blocks"): Rule(Who.SIGNED_IN),
    ("put", "/v1/blocks/{user}"): Rule(Who.SIGNED_IN, public=True),
    ("delete", "/v1/blocks/{user}"): Rule(Who.SIGNED_IN),
    ("get", "/v1/me/requests"): Rule(Who.SIGNED_IN),
    ("post", "/v1/invitations/preview"): Rule(Who.SIGNED_IN, _fixed(token="x")),
    ("post", "/v1/invitations/accept"): Rule(Who.SIGNED_IN, _fixed(token="x")),
    ("patch", "/v1/chats/{chat}/arrangement"): Rule(Who.READER, _fixed(pinned=True)),
    ("put", "/v1/chats/{chat}/owner"): Rule(Who.OWNER, _fixed(user="target")),
    ("post", "/v1/chats/{chat}/invitations"): Rule(Who.MANAGER, _fixed(max_uses=1)),
    ("get", "/v1/chats/{chat}/invitations"): Rule(Who.MANAGER),
    ("delete", "/v1/chats/{chat}/invitations/{link}"): Rule(Who.MANAGER),
    ("get", "/v1/chats/{chat}/requests"): Rule(Who.MANAGER),
    ("put", "/v1/chats/{chat}/requests/{user}"): Rule(Who.MANAGER),
    ("delete", "/v1/chats/{chat}/requests/{user}"): Rule(Who.MANAGER),
    ("get", _MESSAGE): Rule(Who.READER),
    ("delete", _MESSAGE): Rule(Who.MEMBER),
    ("get", _MESSAGE + "/replies"): Rule(Who.READER),
    ("get", _MESSAGE + "/receipts"): Rule(Who.READER),
    ("put", "/v1/chats/{chat}/cleared"): Rule(Who.READER, _fixed(seq=1)),
    ("post", "/v1/admin/services"): Rule(Who.ADMINISTRATOR, _fixed(id="svc-shop", name="가게", scopes=["introspect"])),
    ("get", "/v1/admin/services"): Rule(Who.ADMINISTRATOR),
    ("post", "/v1/admin/services/{service_id}/secret"): Rule(Who.ADMINISTRATOR),
    ("delete", "/v1/admin/services/{service_id}"): Rule(Who.ADMINISTRATOR),
    ("get", "/v1/admin/dead-letters"): Rule(Who.ADMINISTRATOR),
    ("get", _LETTER): Rule(Who.ADMINISTRATOR),
    ("delete", _LETTER): Rule(Who.ADMINISTRATOR),
    ("post", _LETTER + "/replay"): Rule(Who.ADMINISTRATOR),
    ("get", "/v1/announcements"): Rule(Who.SIGNED_IN),
    ("get", "/v1/admin/users"): Rule(_KEEPER),
    ("get", "/v1/admin/users/{user}"): Rule(_KEEPER),
    ("put", "/v1/admin/users/{user}/suspension"): Rule(_KEEPER, _fixed(**_WHY)),
    ("put", "/v1/admin/users/{user}/ban"): Rule(_ADMIN, _fixed(**_WHY)),
    ("delete", "/v1/admin/users/{user}/block"): Rule(_KEEPER, query=_WHY),
    ("put", "/v1/admin/users/{user}/shadow"): Rule(_KEEPER, _fixed(**_WHY)),
    ("delete", "/v1/admin/users/{user}/shadow"): Rule(_KEEPER, query=_WHY),
    ("delete", "/v1/admin/users/{user}/sign-ins"): Rule(_KEEPER, query=_WHY),
    ("put", "/v1/admin/users/{user}/rank"): Rule(_ADMIN, _fixed(rank="user", **_WHY)),
    ("get", "/v1/admin/chats"): Rule(_KEEPER),
    ("get", "/v1/admin/chats/{chat}"): Rule(_KEEPER),
    ("get", "/v1/admin/chats/{chat}/members"): Rule(_KEEPER),
    ("get", "/v1/admin/devices"): Rule(_KEEPER),
    ("get", "/v1/admin/devices/{device}"): Rule(_KEEPER),
    ("get", "/v1/admin/connections"): Rule(_KEEPER),
    ("get", "/v1/admin/connections/{client}"): Rule(_KEEPER),
    ("delete", "/v1/admin/connections/{client}"): Rule(_KEEPER, query=_WHY),
    ("delete", "/v1/admin/messages/{message}"): Rule(_KEEPER, query=_WHY),
    ("post", "/v1/admin/broadcasts"): Rule(_ADMIN, _fixed(text="점검합니다", **_WHY)),
    ("get", "/v1/admin/broadcasts"): Rule(_ADMIN),
    ("get", "/v1/admin/broadcasts/{broadcast}"): Rule(_ADMIN),
    ("delete", "/v1/admin/broadcasts/{broadcast}"): Rule(_ADMIN, query=_WHY),
    ("get", "/v1/admin/statistics"): Rule(_ADMIN),
    ("get", "/v1/admin/audit"): Rule(_ADMIN),
    ("get", "/v1/admin/audit/verification"): Rule(_ADMIN),
    ("get", "/v1/admin/health"): Rule(_ADMIN),
    ("get", "/v1/admin/settings"): Rule(_ADMIN),
}


def opening(route: tuple[str, str]) -> set[str]:
    """The scopes with which a program may call a route."""
    who = RULES[route].who
    if who is Who.SERVICE:
        return {"introspect"}
    if who < Who.MODERATOR:
        return set()
    found = {"admin", "moderate"} if who is Who.MODERATOR else {"admin"}
    return found | {"admin:read"} if route[0] == "get" else found
