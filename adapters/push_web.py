"""Pushes to browsers by Web Push (RFC 8030), encrypted for the one that subscribed (RFC 8291), signed with our key (VAPID, RFC 8292).

| answer | raised |
|---|---|
| 200, 201, 202, 204 | nothing |
| 404, 410 | `PushTokenDead`: the subscription has ended (RFC 8030 §7.3); here the address is the token, so a bare 404 says that |
| 408, 429, 5xx | `PushRetry`, with Retry-After as seconds (it may be a date) |
| no connection, no answer in time, keys that can't be read | `PushRetry` |
| any other, 400, 403 and 413 among them | `PushRejected` |

A subscription whose key has been withdrawn is dead too: nobody can push there any more.
"""

from __future__ import annotations

import json
from http import HTTPStatus
from urllib.parse import urlsplit

import requests
from urllib3.exceptions import HTTPError

from adapters.push_http import LATER, TIMEOUT, one_try, proxies, retry_after, settled, topic_of
from adapters.vapid import VapidKeys
from adapters.web_push_encryption import encrypt
from chat.errors import Unavailable
from chat.ports import Push
from chat.pushes import PushRejected, PushRetry, PushTokenDead

TTL = 43_200
"""Seconds that the push service keeps a push for a browser that is away: as old as a push may get here (PABAL_WORKER_PUSH_MAX_AGE)."""

_TAKEN = frozenset({HTTPStatus.OK, HTTPStatus.CREATED, HTTPStatus.ACCEPTED, HTTPStatus.NO_CONTENT})
_DEAD = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})


MAX_BODY = 4_096
"""Bytes of an answer's body that are read: nobody looks at them."""


class WebPushSender:
    """`chat.ports.PushSender` on Web Push. Threads may share it; connections and signatures are kept and shared too.

    Args:
        keys: ours.
        timeout: seconds.
    """

    def __init__(self, keys: VapidKeys, *, timeout: float = TIMEOUT) -> None:
        self._keys = keys
        self._timeout = timeout
        self._session = settled(requests.Session())
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, one_try())

    def send(self, push: Push) -> None:
        """Hand one push to the browser's push service.

        Raises:
            PushTokenDead, PushRejected, PushRetry: see the table above.
        """
        subscription = push.token.subscription
        if subscription is None:
            raise PushRejected("this token is no subscription of a browser")
        try:
            body = encrypt(_payload(push), p256dh=subscription.p256dh, auth=subscription.auth)
        except ValueError as error:
            raise PushRejected(f"it can't be encrypted for this browser: {error}") from None
        where = urlsplit(subscription.endpoint)
        origin = f"{where.scheme}://{where.netloc}"
        headers = {
            "Authorization": self._authorization(subscription.key, origin),
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "TTL": str(TTL),
            "Topic": topic_of(push),
            "Urgency": "normal" if push.data_only else "high",
        }
        try:
            with self._session.post(
                subscription.endpoint,
                data=body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
                proxies=proxies(origin),
                stream=True,  # a body may never end: status and headers are what counts
            ) as response:
                response.raw.read(MAX_BODY)  # the connection goes on if that was all
                _raise_for(response)
        except (requests.RequestException, HTTPError) as error:
            raise PushRetry(f"the push service could not be asked: {type(error).__name__}") from error

    def _authorization(self, public: str, origin: str) -> str:
        try:
            found = self._keys.authorization(public, origin)
        except Unavailable as error:
            raise PushRetry(error.reason) from error
        if found is not None:
            return found
        if not self._keys.keys():
            # A directory that is not there must not cost everybody their subscription.
            raise PushRetry("there are no keys of ours")
        raise PushTokenDead("the key that it was made with has been withdrawn")


def _payload(push: Push) -> bytes:
    """What the page's service worker gets: JSON with `title`, `text`, `tag`, `badge` and `data`, as far as there are."""
    shown = {} if push.data_only else {"title": push.title, "text": push.text, "tag": push.collapse_key}
    whole = shown | {"badge": push.badge, "data": dict(push.data)}
    return json.dumps({name: value for name, value in whole.items() if value is not None}, ensure_ascii=False).encode()


def _raise_for(response: requests.Response) -> None:
    status = response.status_code
    if status in _TAKEN:
        return
    reason = f"the push service answered {status}"
    if status in _DEAD:
        raise PushTokenDead(reason)
    if status in LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PushRetry(reason, after=retry_after(response))
    raise PushRejected(reason)
