"""Pushes through Firebase Cloud Messaging, HTTP v1: what pyfcm builds and signs, without what it waits for.

pyfcm 2.1 sleeps out a Retry-After inside `send_request` and calls itself again, lets urllib3 retry 502 and 503, and
google-auth retries the token endpoint with pauses. A worker that sleeps works for nobody, and only the job queue may decide
when to try again: here each push is one request (two after a 401), and every other ending is an exception of `chat.pushes`.

| answer | raised |
|---|---|
| 200 | nothing |
| any status with `errorCode` UNREGISTERED | `PushTokenDead` |
| 401 | new credentials and one more request; still 401: `PushRetry` |
| 408, 429, 5xx | `PushRetry`, with Retry-After as seconds (it may be a date) |
| no connection, no answer in time, no access token | `PushRetry` |
| any other, 400 and 403 among them | `PushRejected` |

A bare 404 is a wrong endpoint or project, not a dead installation: taking it for one would delete every token.

Requests: https://firebase.google.com/docs/reference/fcm/rest/v1/projects.messages/send
Errors: https://firebase.google.com/docs/reference/fcm/rest/v1/FcmError
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from functools import partial
from http import HTTPStatus
from pathlib import Path
from typing import Any, NoReturn

import google.auth.transport.requests
import requests
from google.auth.exceptions import GoogleAuthError
from pyfcm import FCMNotification
from pyfcm.errors import FCMError

from adapters import tracing
from adapters.push_http import LATER, TIMEOUT, one_try, proxies, retry_after, settled, topic_of
from chat.ports import Push
from chat.pushes import PushRejected, PushRetry, PushTokenDead
from chat.tracing import Kind

GOOGLE = "https://fcm.googleapis.com"


class FcmSender:
    """`chat.ports.PushSender` on FCM. Threads may share it; connections and the access token are kept and shared too.

    Args:
        service_account_file: the JSON key file of Google's console (project, key, token endpoint).
        endpoint: where `/v1/projects/…` is; the emulator's address on one machine.
        timeout: seconds.

    Raises:
        FileNotFoundError, ValueError: the file is not there, or is no service account.
    """

    def __init__(self, service_account_file: Path, *, endpoint: str = GOOGLE, timeout: float = TIMEOUT) -> None:
        if not service_account_file.is_file():
            raise FileNotFoundError(f"there is no service account file {service_account_file}")
        self._api = _OneTry(service_account_file, endpoint, timeout)

    def send(self, push: Push) -> None:
        """Hand one push to FCM.

        Raises:
            PushTokenDead, PushRejected, PushRetry: see the table above.
        """
        shown = {} if push.data_only else {"notification_title": push.title, "notification_body": push.text}
        payload = self._api.parse_payload(
            fcm_token=push.token.token, data_payload=dict(push.data), **shown, **_platform_blocks(push)
        )
        try:
            response = self._asked(payload)
        except _NoAccessToken as error:
            raise PushRetry(str(error), after=error.after) from error
        except (requests.RequestException, GoogleAuthError, FCMError) as error:
            raise PushRetry(f"FCM could not be asked: {type(error).__name__}") from error
        if response.status_code != HTTPStatus.OK:
            _raise_for(response)

    def _asked(self, payload: bytes) -> requests.Response:
        """FCM's answer, with a span of its own; of what was asked it tells nothing."""
        with tracing.part("fcm send", Kind.CLIENT, {"http.request.method": "POST"}) as span:
            response = self._api.send_request(payload)
            if span is not None:
                span.set("http.response.status_code", response.status_code)
            return response


class _NoAccessToken(Exception):
    """The token endpoint said no; `after` is what it asked to wait."""

    def __init__(self, response: requests.Response) -> None:
        super().__init__(f"the token endpoint answered {response.status_code}")
        self.after = retry_after(response)


class _OneTry(FCMNotification):  # type: ignore[misc]  # pyfcm ships no types
    """pyfcm with its waiting taken out, and with a base address that can be set."""

    def __init__(self, service_account_file: Path, endpoint: str, timeout: float) -> None:
        self.FCM_END_POINT_BASE = f"{endpoint.rstrip('/')}/v1/projects"
        self._timeout = timeout
        self._token_lock = threading.Lock()
        adapter = one_try()
        super().__init__(service_account_file=str(service_account_file), adapter=adapter)
        self._initialize_credentials()  # now, so that a wrong file is an error at the start and not at the first push

    def send_request(self, payload: bytes | None = None, timeout: float | None = None) -> requests.Response:
        """One POST; after a 401 a second one with a new access token."""
        response = self._post(payload, timeout)
        if response.status_code == HTTPStatus.UNAUTHORIZED:
            self._drop_access_token(response.request.headers["Authorization"])
            response = self._post(payload, timeout)
        return response

    def _post(self, payload: bytes | None, timeout: float | None) -> requests.Response:
        session = settled(self.requests_session)
        return session.post(
            self.fcm_end_point,
            data=payload,
            timeout=timeout or self._timeout,
            allow_redirects=False,
            proxies=proxies(self.FCM_END_POINT_BASE),
        )

    def _drop_access_token(self, refused: str | bytes) -> None:
        """Threads share one access token: only the first of those that saw it refused drops it."""
        with self._token_lock:
            if refused == f"Bearer {self.credentials.token}":
                self.credentials.token = None
        self.thread_local.token_expiry = 0

    def _get_access_token(self) -> str:
        with self._token_lock:
            if not self.credentials.valid:
                with requests.Session() as session:
                    session.hooks["response"].append(_expect_access_token)
                    ask = google.auth.transport.requests.Request(session)
                    self.credentials.refresh(partial(ask, timeout=self._timeout))
            return str(self.credentials.token)


def _expect_access_token(response: requests.Response, **_: Any) -> None:
    """Raise before google-auth sees an answer that it would retry with pauses."""
    if response.status_code != HTTPStatus.OK:
        raise _NoAccessToken(response)


def _raise_for(response: requests.Response) -> NoReturn:
    """Raise what an answer other than 200 means. The reason holds codes only: FCM's own text may quote the request."""
    status = response.status_code
    code = _error_code(response)
    reason = f"FCM answered {status} {code}".rstrip()
    if code == "UNREGISTERED":
        raise PushTokenDead(reason)
    if status == HTTPStatus.UNAUTHORIZED or status in LATER or status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        raise PushRetry(reason, after=retry_after(response))
    raise PushRejected(reason)


def _error_code(response: requests.Response) -> str:
    """FCM's `errorCode`, else the `status` of Google's error model, else nothing."""
    try:
        error = response.json()["error"]
        details = [detail for detail in error.get("details", []) if "errorCode" in detail]
        return str(details[0]["errorCode"] if details else error.get("status", ""))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ""


def _platform_blocks(push: Push) -> dict[str, dict[str, Any]]:
    """The block of the token's own platform: newer pushes of a chat replace older ones on the screen, all wake the app."""
    block = _BLOCKS.get(push.token.platform)
    return block(push) if block is not None else {}


def _android(push: Push) -> dict[str, dict[str, Any]]:
    config: dict[str, Any] = {"collapse_key": push.collapse_key, "priority": "HIGH"}
    if not push.data_only:
        config["notification"] = {"tag": push.collapse_key}
        if push.badge is not None:
            config["notification"]["notification_count"] = push.badge
    return {"android_config": config}


def _ios(push: Push) -> dict[str, dict[str, Any]]:
    aps: dict[str, Any] = {} if push.badge is None else {"badge": push.badge}
    # apns-collapse-id has at most 64 bytes; a chat id has at most 64 characters of ASCII.
    headers = {"apns-collapse-id": push.collapse_key[:64]}
    if push.data_only:
        # Apple takes a push that only wakes the app with this type and priority, and with no other.
        headers |= {"apns-push-type": "background", "apns-priority": "5"}
        aps["content-available"] = 1
    else:
        headers |= {"apns-push-type": "alert", "apns-priority": "10"}
        aps |= {"sound": "default", "thread-id": push.collapse_key}
    return {"apns_config": {"headers": headers, "payload": {"aps": aps}}}


def _web(push: Push) -> dict[str, dict[str, Any]]:
    config: dict[str, Any] = {"headers": {"Topic": topic_of(push), "Urgency": "high"}}
    if not push.data_only:
        config["notification"] = {"tag": push.collapse_key}
    return {"webpush_config": config}


_BLOCKS: dict[str, Callable[[Push], dict[str, dict[str, Any]]]] = {"android": _android, "ios": _ios, "web": _web}
