"""ETags: who has an answer already is told so, and not sent it again (RFC 9110 §13.1.2)."""

from __future__ import annotations

import hashlib

import msgspec
from fastapi import Request, Response

_encoder = msgspec.json.Encoder()

REVALIDATE = "private, no-cache"
"""A client may keep such an answer, and asks each time whether it still holds; nobody in between keeps it."""


def answer_once(request: Request, struct: msgspec.Struct) -> Response:
    """The JSON of `struct` with its ETag; 304 without it when the request's If-None-Match has that ETag.

    The tag is a hash of the whole answer, so equal tags are equal answers, whatever they were made from.
    """
    body = _encoder.encode(struct)
    tag = f'"{hashlib.blake2b(body, digest_size=16).hexdigest()}"'
    headers = {"ETag": tag, "Cache-Control": REVALIDATE}
    if _matches(request.headers.get("if-none-match"), tag):
        return Response(None, 304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _matches(offered: str | None, tag: str) -> bool:
    """Weak comparison, as If-None-Match asks for; our tags hold no commas."""
    if offered is None:
        return False
    return offered.strip() == "*" or any(one.strip().removeprefix("W/") == tag for one in offered.split(","))
