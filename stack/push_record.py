"""What the emulators of push providers have got, and whether whoever sends keeps the providers' rules. No I/O."""

from __future__ import annotations

import json
from collections import deque
from dataclasses import dataclass, field
from typing import Any

MAX_MESSAGES = 50_000
"""Pushes that are kept, about a kilobyte each; older ones are counted only."""

MAX_TOKENS = 200_000
"""Tokens whose rules are watched."""


@dataclass(slots=True)
class Received:
    """One request for a push, and how it was answered.

    Attributes:
        at: Unix time when it came; `answered_at`, when the answer went out.
    """

    token: str
    status: int
    name: str | None
    message: dict[str, Any]
    peer: str
    at: float
    answered_at: float


@dataclass(slots=True)
class Verdict:
    """How the rules were kept, since the start or the last `DELETE`.

    Attributes:
        requests, sent: all, and those that were taken.
        early: requests for a token before the time that a Retry-After had named for it.
        again_after_400: requests that were refused as bad and came again: the same message for the same token.
        again_after_gone: requests for a token that was told to be gone (404, 410).
        repeated: messages that were taken for a token that had taken them before. Allowed (at least once), but rarely.
    """

    requests: int = 0
    sent: int = 0
    early: int = 0
    again_after_400: int = 0
    again_after_gone: int = 0
    repeated: int = 0


@dataclass(slots=True)
class _Token:
    not_before: float = 0.0
    gone: bool = False
    refused: set[str] = field(default_factory=set)
    taken: deque[str] = field(default_factory=lambda: deque(maxlen=200))


class Record:
    """Keeps what came.

    Attributes:
        messages: the newest, oldest first.
        verdict: see there.
    """

    def __init__(self) -> None:
        self.messages: deque[Received] = deque(maxlen=MAX_MESSAGES)
        self.verdict = Verdict()
        self._tokens: dict[str, _Token] = {}

    def forget(self) -> None:
        """Begin anew."""
        self.messages.clear()
        self._tokens.clear()
        self.verdict = Verdict()

    def add(self, got: Received, retry_after: str | None) -> None:
        """One request with its answer, and the Retry-After that the answer had."""
        self.messages.append(got)
        token = self._token(got.token)
        what = _which(got.message)
        self.verdict.requests += 1
        self.verdict.early += got.at < token.not_before
        self.verdict.again_after_400 += what in token.refused
        self.verdict.again_after_gone += token.gone
        if 200 <= got.status < 300:
            self.verdict.sent += 1
            self.verdict.repeated += what in token.taken
            token.taken.append(what)
        if got.status == 400:
            token.refused.add(what)
        if got.status in (404, 410):
            token.gone = True
        if retry_after is not None and retry_after.isdecimal():
            token.not_before = max(token.not_before, got.answered_at + float(retry_after))

    def _token(self, token: str) -> _Token:
        if token not in self._tokens and len(self._tokens) >= MAX_TOKENS:
            del self._tokens[next(iter(self._tokens))]
        return self._tokens.setdefault(token, _Token())


def _which(message: dict[str, Any]) -> str:
    """What makes a message the same as another: its data, less the badge, which another chat may change meanwhile."""
    data = {name: value for name, value in (message.get("data") or {}).items() if name != "badge"}
    return json.dumps(data, sort_keys=True)
