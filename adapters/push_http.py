"""What providers of pushes have in common: HTTP, asked once, and how they ask for a pause."""

from __future__ import annotations

import base64
import hashlib
import os
import time
from email.utils import parsedate_to_datetime
from functools import lru_cache
from http import HTTPStatus

import requests
from requests.adapters import HTTPAdapter
from requests.utils import get_environ_proxies
from urllib3 import Retry

from chat.ports import Push

TIMEOUT = 10.0
"""Seconds for a connect and for each pause in the answer: providers answer in well under one."""

MAX_CONNECTIONS = 32
"""Connections to one host that are kept open; one per thread that sends at the same time."""

MAX_RETRY_AFTER = 86_400.0
"""A provider that asks for more than a day is taken to mean a day."""

LATER = frozenset({HTTPStatus.REQUEST_TIMEOUT, HTTPStatus.TOO_MANY_REQUESTS})
"""Answers, beside 5xx, after which the same request may be taken."""


def settled(session: requests.Session) -> requests.Session:
    """`session` with what the environment says about certificates, and without asking it for each request; see `proxies`."""
    if session.trust_env:
        session.trust_env = False
        session.verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("CURL_CA_BUNDLE") or True
    return session


@lru_cache(maxsize=1_000)
def proxies(origin: str) -> dict[str, str]:
    """The proxies that the environment names for requests to an origin.

    requests looks through the whole environment for each request, and for a password in a .netrc that would take the place of ours: measured,
    a quarter of what a push costs.
    """
    return get_environ_proxies(origin)


def one_try() -> HTTPAdapter:
    """A transport that keeps its connections and never sends a request twice: only the job queue decides when to try again."""
    # read=False: a request that may have been taken is not sent again.
    return HTTPAdapter(pool_maxsize=MAX_CONNECTIONS, max_retries=Retry(total=0, read=False))


def retry_after(response: requests.Response, *, now: float | None = None) -> float | None:
    """The seconds that Retry-After asks for (RFC 9110 §10.2.3: seconds or a date); None without a usable one.

    Args:
        response: anything with `headers`.
        now: Unix time; the clock's when omitted.
    """
    value = response.headers.get("Retry-After", "").strip()
    if value.isdecimal():
        return min(float(value), MAX_RETRY_AFTER)
    try:
        at = parsedate_to_datetime(value).timestamp()
    except (ValueError, IndexError, TypeError):
        return None
    return min(max(0.0, at - (time.time() if now is None else now)), MAX_RETRY_AFTER)


def topic_of(push: Push) -> str:
    """The Topic of Web Push: at most 32 characters of base64url (RFC 8030 §5.4), fewer than a chat id has."""
    digest = hashlib.sha256(push.collapse_key.encode()).digest()
    return base64.urlsafe_b64encode(digest)[:32].decode()
