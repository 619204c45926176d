"""What a push says."""

from __future__ import annotations

from wcwidth import iter_graphemes

from chat.envelopes import Body, Event
from chat.models import PushToken
from chat.ports import Push

MAX_TEXT = 200
MAX_TITLE = 100
"""In characters (code points). With 4 bytes each they stay far below the 4,096 bytes that a push may have."""

_ELLIPSIS = "…"


def cut(text: str, limit: int) -> str:
    """`text`, or as many of its first characters as fit with an ellipsis into `limit` code points.

    It is cut between grapheme clusters (Unicode UAX #29) only: a decomposed Hangul syllable, an emoji with skin tone or a family
    joined by ZWJ stays whole or goes whole. The text is not normalised.
    """
    if len(text) <= limit:
        return text
    kept: list[str] = []
    length = len(_ELLIPSIS)
    # Of a cluster that begins before the limit and ends behind it nothing is kept, so no more than this need be read.
    for cluster in iter_graphemes(text[: limit + 1]):
        if length + len(cluster) > limit:
            break
        kept.append(cluster)
        length += len(cluster)
    return "".join(kept).rstrip() + _ELLIPSIS


def preview(body: Body | None) -> str | None:
    """What a lock screen may show of a body; None when it is nothing readable, or end-to-end encrypted."""
    if body is None or body.cipher is not None:
        return None
    if body.text is not None:
        return cut(body.text, MAX_TEXT)
    if body.attachment is not None:
        return cut(body.attachment.name, MAX_TEXT) if body.attachment.name else None
    if isinstance(body.data, str) and body.encoding is None and (body.content_type or "").startswith("text/"):
        return cut(body.data, MAX_TEXT)
    return None


def compose(event: Event, token: PushToken, *, title: str) -> Push:
    """The push of `event` for one installation.

    Args:
        event: what happened.
        token: the installation.
        title: the chat's title, or who sent it.
    """
    return Push(
        token=token,
        title=cut(title, MAX_TITLE),
        text=preview(event.body),
        data={"chat": event.chat, "seq": str(event.seq), "id": event.id},
        collapse_key=event.chat,
    )
