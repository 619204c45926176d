"""Browsers that are pushed to without FCM: the key that they subscribe with, and their subscriptions as push tokens."""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

from adapters.vapid import VapidKey, VapidKeys
from adapters.web_push_encryption import read_keys
from api.push_tokens.service import PushTokenService
from api.web_push.schemas import BrowserSubscription, ServerKey, Subscribed
from chat.errors import BadInput, NotFound
from chat.models import Principal, Subscription

PLATFORM = "webpush"


@dataclass(frozen=True, slots=True)
class WebPushService:
    """The decisions of `/v1/web-push`.

    Attributes:
        keys: None: it is off.
        services: origins of the push services that may be pushed to, with `*.` for any name below a domain. Our server connects to what a
            user names here, so it names hosts that are known, and nothing within our own walls.
    """

    tokens: PushTokenService
    keys: VapidKeys | None
    services: Sequence[str]

    async def key(self) -> ServerKey:
        """The newest.

        Raises:
            NotFound: `web_push_off`.
        """
        return ServerKey(self._keys()[0].public)

    async def subscribe(self, wish: BrowserSubscription, *, caller: Principal) -> Subscribed:
        """The browser is the caller's now; twice is as once.

        Raises:
            NotFound: `web_push_off`.
            BadInput: `unknown_push_service`, `unknown_push_key`, `invalid_subscription`.
        """
        keys = self._keys()
        public = wish.key or keys[0].public
        if all(key.public != public for key in keys):
            raise BadInput("subscribe anew, with the key of now", code="unknown_push_key")
        if not is_known(wish.endpoint, self.services):
            raise BadInput("this server pushes to other push services", code="unknown_push_service")
        try:
            read_keys(wish.keys.p256dh, wish.keys.auth)
        except ValueError as error:
            raise BadInput(str(error), code="invalid_subscription") from None
        digest = base64.urlsafe_b64encode(hashlib.sha256(wish.endpoint.encode()).digest()).rstrip(b"=").decode()
        subscription = Subscription(wish.endpoint, wish.keys.p256dh, wish.keys.auth, public)
        await self.tokens.put(f"wp-{digest}", PLATFORM, caller=caller, subscription=subscription)
        return Subscribed(f"wp-{digest}")

    def _keys(self) -> list[VapidKey]:
        keys = [] if self.keys is None else self.keys.keys()
        if not keys:
            raise NotFound("this server pushes to browsers through FCM only", code="web_push_off")
        return keys


_HOST = re.compile(r"[a-z0-9.-]+")


def is_known(endpoint: str, services: Sequence[str]) -> bool:
    """Whether an address is one of a push service that is named: the same scheme and port, the same host or one below it."""
    try:
        where = urlsplit(endpoint)
        port = where.port
    except ValueError:
        return False
    if where.username is not None or where.password is not None or where.fragment:
        return False
    host = where.hostname or ""
    if _HOST.fullmatch(host) is None:  # other readers of addresses end a host elsewhere, at a backslash for one
        return False
    return any(_matches(where.scheme, host, port, service) for service in services)


def _matches(scheme: str, host: str, port: int | None, service: str) -> bool:
    known = urlsplit(service)
    name = known.hostname or ""
    same = host.endswith(name[1:]) if name.startswith("*.") else host == name
    return same and (scheme, port) == (known.scheme, known.port)
