"""Trace context (W3C, level 1): the trace that a request belongs to, so that one search finds it in the logs of all who had to do with it."""

from __future__ import annotations

import re
import secrets
from dataclasses import dataclass

_HEADER = re.compile(r"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-([0-9a-f]{2})(?:-.*)?")


@dataclass(frozen=True, slots=True)
class Trace:
    """One request's part of a trace.

    Attributes:
        id: of the whole, 32 hexadecimal digits.
        span: of this part, 16.
        flags: of its caller, 2: whether it records.
    """

    id: str
    span: str
    flags: str

    @property
    def header(self) -> str:
        """As `traceparent`."""
        return f"00-{self.id}-{self.span}-{self.flags}"


def continued(offered: str | None) -> Trace:
    """Our part of the trace that a `traceparent` names; of a new one when it names none."""
    found = _HEADER.fullmatch(offered) if offered is not None else None
    if found is None or (offered is not None and offered.startswith("00") and len(offered) != 55):
        return Trace(secrets.token_hex(16), secrets.token_hex(8), "00")
    return Trace(found[1], secrets.token_hex(8), found[2])
