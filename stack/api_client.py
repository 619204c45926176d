"""The API of a running stack, as its administrator: the only way in which `pabal` administers anything."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from stack import credentials
from stack.command import fail, running

SECONDS = 20.0
"""How long an answer may take: a replay or a deletion waits until its message is stored."""

PAGE = 200


class Api:
    """Signed in from its making on. A command ends, with the reason, when a request fails.

    Args:
        state: the state directory of the stack.
    """

    def __init__(self, state: Path | None) -> None:
        found, where = running(state)
        self._base = found["api"]
        try:
            admin = credentials.read(where.credentials)["admin"]
        except (OSError, ValueError, LookupError) as error:
            fail(f"the administrator in {where.credentials} can't be read: {type(error).__name__}")
        form = {"grant_type": "password", "username": admin["handle"], "password": admin["password"]}
        self._headers: dict[str, str] = {}
        token = self._request("POST", "/v1/auth/token", data=form)
        self._headers = {"Authorization": f"Bearer {token['access_token']}"}

    def ask(self, method: str, path: str, *, query: dict[str, Any] | None = None, body: Any = None) -> Any:
        """One request below `/v1/admin/`; what is None in the query is left out."""
        given = {name: value for name, value in (query or {}).items() if value is not None}
        more = {} if body is None else {"json": body}
        return self._request(method, f"/v1/admin/{path}", params=given, **more)

    def items(self, path: str, limit: int, query: dict[str, Any] | None = None) -> tuple[list[dict[str, Any]], bool]:
        """Up to `limit` items of a list, page by page, and whether there are more."""
        found: list[dict[str, Any]] = []
        asked = {**(query or {}), "limit": min(limit, PAGE)}
        while True:
            page = self.ask("GET", path, query=asked)
            found += page["items"]
            if page["next"] is None or len(found) >= limit:
                return found[:limit], page["next"] is not None or len(found) > limit
            asked["cursor"] = page["next"]

    def _request(self, method: str, path: str, **request: Any) -> Any:
        url = self._base + path
        try:
            answer = httpx.request(method, url, headers=self._headers, timeout=SECONDS, trust_env=False, **request)
        except httpx.HTTPError as error:
            fail(f"the API does not answer at {self._base}: {type(error).__name__}")
        try:
            body = answer.json() if answer.content else None
        except json.JSONDecodeError:
            fail(f"{url} answers {answer.status_code}, and no JSON")
        if not answer.is_success:
            told = body if isinstance(body, dict) else {}
            fail(f"{told.get('detail', f'{url} answers {answer.status_code}')} ({told.get('code', 'no code')})")
        return body


def named(*words: str) -> str:
    """A path of names that may hold anything."""
    return "/".join(quote(word, safe="") for word in words)
