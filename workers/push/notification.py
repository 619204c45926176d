"""What a push says."""

from __future__ import annotations

from dataclasses import dataclass

from wcwidth import iter_graphemes

from chat.envelopes import Body, Event
from chat.models import PushToken
from chat.ports import Push
from chat.push_preferences import Shows

MAX_TEXT = 200
MAX_TITLE = 100
"""In characters (code points). With 4 bytes each they stay far below the 4,096 bytes that a push may have."""

APP = "Pabal"
"""All that a push says to who wants nothing shown."""

_ELLIPSIS = "…"


@dataclass(frozen=True, slots=True)
class Words:
    """What people call a chat, and who writes in it. A chat between two has no name of its own."""

    chat: str | None
    sender: str


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


def compose(event: Event, token: PushToken, words: Words, shows: Shows, *, badge: int) -> Push:
    """The push of `event` for one installation, with no more of it than its user wants on a screen.

    An installation that makes its notifications itself gets what it may show as data.

    Args:
        event: what happened.
        token: the installation.
        words: what the event's chat and sender are called.
        shows: what the user wants to be shown.
        badge: how many messages of all chats they have not seen.
    """
    title, text = APP, None
    if shows is Shows.TEXT:
        title, text = words.chat or words.sender, preview(event.body)
    elif shows is Shows.SENDER:
        title = words.sender
    title = cut(title, MAX_TITLE)
    data = {"chat": event.chat, "seq": str(event.seq), "id": event.id, "badge": str(badge)}
    if token.data_only:
        data |= {"title": title} if text is None else {"title": title, "text": text}
    return Push(
        token=token,
        title=title,
        text=text,
        data=data,
        collapse_key=event.chat,
        badge=badge,
        data_only=token.data_only,
    )


def withdrawal(chat: str, seq: int, token: PushToken, *, badge: int) -> Push:
    """What takes a chat's notification from a screen: its user has seen everything up to `seq` elsewhere.

    It collapses with the notification: if that still waits at the provider, it never comes.
    """
    data = {"type": "withdraw", "chat": chat, "seq": str(seq), "badge": str(badge)}
    return Push(token=token, title="", text=None, data=data, collapse_key=chat, badge=badge, data_only=True)
