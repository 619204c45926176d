"""Is it there, and does it work? Each probe takes about a second at most and tells the problem, or None.

Probes block: the supervisor runs them in threads, `pabal doctor` one after the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence

import httpx
from pymongo.errors import PyMongoError

from stack import replica_set, servers
from stack.ports import Address

Probe = Callable[[], str | None]
"""What is wrong, in a few words; None when nothing is."""


def healthz(address: Address) -> Probe:
    """`GET /healthz` answers 200; otherwise the parts that the process itself calls unhealthy."""
    url = f"http://{address}/healthz"

    def probe() -> str | None:
        try:
            answer = httpx.get(url, timeout=servers.PROBE_SECONDS, trust_env=False)
        except httpx.HTTPError as error:
            return f"{url} does not answer: {type(error).__name__}"
        return None if answer.is_success else f"{url} answers {answer.status_code}{_parts(answer)}"

    return probe


def _parts(answer: httpx.Response) -> str:
    """Of `{"mongo": false, "link": true}` the names that are false."""
    try:
        report = answer.json()
    except json.JSONDecodeError:
        return ""
    down = [name for name, fine in report.items() if fine is False] if isinstance(report, dict) else []
    return f" (not healthy: {', '.join(down)})" if down else ""


def mongod(addresses: Sequence[Address]) -> Probe:
    """The mongods at these addresses are a set, and the first works in it; makes it so where needed."""

    def probe() -> str | None:
        try:
            replica_set.ensure(addresses, seconds=servers.PROBE_SECONDS)
        except (TimeoutError, replica_set.SetIsLarger, PyMongoError) as error:
            return str(error)
        return None

    return probe


def mongo_member(address: Address) -> Probe:
    """The mongod at this address works in a set that another one's probe makes."""
    return lambda: replica_set.member_problem(address)


def mongo(url: str) -> Probe:
    """The replica set behind `url` has a primary."""
    return lambda: replica_set.problem(url)


def valkey(url: str) -> Probe:
    """The server behind `url` answers PING."""
    return lambda: servers.valkey_problem(url)
