"""`Connections` over the broker's admin interface (`broker.admin`), and `Processes` over the HTTP ports of our processes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx

from chat.admin import LiveConnection, LiveConnectionDetail
from chat.errors import BadInput, Unavailable

SECONDS = 5.0
"""How long the broker may take: a list of a hundred thousand sessions needs a small part of it."""

PROBE_SECONDS = 2.0
"""How long a process may take to tell of itself."""

MAX_BYTES = 1 << 20
"""Of what a process tells of itself."""


class BrokerAdmin:
    """`Connections` of one broker.

    Args:
        url: its HTTP address.
        secret_file: opens its admin interface; read for each request, so that a new one holds at once. None: it is not known.
    """

    def __init__(self, client: httpx.AsyncClient, url: str, secret_file: Path | None) -> None:
        self._client = client
        self._url = url.rstrip("/") + "/admin/"
        self._secret_file = secret_file

    async def page(
        self, *, prefix: str, state: str, cursor: str | None, limit: int
    ) -> tuple[list[LiveConnection], str | None]:
        """See `Connections.page`.

        Raises:
            BadInput: the broker takes the cursor for none of its own.
        """
        query = {"prefix": prefix, "state": state, "limit": str(limit)} | ({"cursor": cursor} if cursor else {})
        found = await self._ask("GET", "clients", query)
        if found is None:
            raise Unavailable("the broker has no list of its clients")
        return [LiveConnection(**_facts(row)) for row in found["items"]], found["next"]

    async def get(self, client: str) -> LiveConnectionDetail | None:
        """See `Connections.get`."""
        found = await self._ask("GET", _path(client), {})
        if found is None:
            return None
        filters = [row["filter"] for row in found["filters"]]
        return LiveConnectionDetail(
            **_facts(found), queue_limit=found["queue_limit"], window=found["window"], filters=filters
        )

    async def disconnect(self, client: str, *, drop_session: bool) -> tuple[bool, bool] | None:
        """See `Connections.disconnect`."""
        found = await self._ask("DELETE", _path(client), {"session": "drop" if drop_session else "keep"})
        return None if found is None else (found["disconnected"], found["session_kept"])

    async def _ask(self, method: str, path: str, query: Mapping[str, str]) -> Any:
        """The answer's JSON; None for 404."""
        try:
            answer = await self._client.request(
                method, self._url + path, params=query, headers=await self._headers(), timeout=SECONDS
            )
            body = answer.json()
        except (httpx.HTTPError, ValueError) as error:
            raise Unavailable(f"the broker's admin interface does not answer: {type(error).__name__}") from error
        if answer.is_success:
            return body
        if answer.status_code == httpx.codes.NOT_FOUND:
            return None
        if answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY:
            raise BadInput("the broker can't read this request", code="invalid_cursor" if "cursor" in query else None)
        raise Unavailable(f"the broker's admin interface answers {answer.status_code}")

    async def _headers(self) -> dict[str, str]:
        if self._secret_file is None:
            raise Unavailable("this process was not told the broker's admin secret")
        try:
            secret = (await asyncio.to_thread(self._secret_file.read_text, "ascii")).strip()
        except (OSError, ValueError) as error:
            raise Unavailable(f"the broker's admin secret can't be read: {type(error).__name__}") from error
        return {"Authorization": f"Bearer {secret}"}


class HttpProcesses:
    """`Processes` by the HTTP addresses of their metrics.

    Args:
        addresses: `http://host:port` by name.
    """

    def __init__(self, client: httpx.AsyncClient, addresses: Mapping[str, str]) -> None:
        self._client = client
        self._addresses = dict(addresses)

    async def health(self) -> dict[str, dict[str, bool] | None]:
        """See `Processes.health`."""
        found = await self._all("/healthz")
        return {
            name: None if parts is None else {str(part): well is True for part, well in parts.items()}
            for name, parts in found.items()
        }

    async def settings(self) -> dict[str, dict[str, str] | None]:
        """See `Processes.settings`."""
        found = await self._all("/settings")
        return {
            name: None if values is None else {str(setting): str(value) for setting, value in values.items()}
            for name, values in found.items()
        }

    async def _all(self, path: str) -> dict[str, dict[str, Any] | None]:
        found = await asyncio.gather(*(self._one(address + path) for address in self._addresses.values()))
        return dict(zip(self._addresses, found, strict=True))

    async def _one(self, url: str) -> dict[str, Any] | None:
        try:
            answer = await self._client.get(url, timeout=PROBE_SECONDS)
        except httpx.HTTPError:
            return None
        if len(answer.content) > MAX_BYTES:
            return None
        try:
            body = json.loads(answer.content)
        except (ValueError, RecursionError):
            return None
        return body if isinstance(body, dict) else None


def _path(client: str) -> str:
    return f"clients/{quote(client, safe='')}"


def _facts(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in LiveConnection.__struct_fields__}
