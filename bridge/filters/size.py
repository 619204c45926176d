"""Size: what a message's bytes alone do not bound."""

from __future__ import annotations

from bridge.decode import Draft
from chat.envelopes import MAX_TEXT, encode
from chat.errors import Refused, TooLarge

MAX_NAME = 1_024
"""Characters of a content type or file name: they are shown in lists."""

MAX_URL = 8_192

MAX_BODY = 192 * 1024
"""Bytes of the body as JSON: the event must fit the broker's largest packet (256 KiB). Control characters grow sixfold in JSON, and
bytes by a third in base64, so the bound on what came in is not enough."""

_GROWTH = 6


class Size:
    """Refuses texts, names and addresses that are longer than a limit, and bodies that grow too large as JSON.

    Args:
        max_text: characters of `text`.
    """

    def __init__(self, *, max_text: int = MAX_TEXT) -> None:
        self._max_text = max_text

    def check(self, draft: Draft) -> None:
        """See `Filter.check`."""
        body = draft.send.body
        if body is None:
            return
        if len(draft.arrival.delivery.payload) * _GROWTH > MAX_BODY and len(encode(body)) > MAX_BODY:
            raise TooLarge(f"a message has at most {MAX_BODY} bytes as JSON")
        text = body.text
        if text is not None and len(text) > self._max_text:
            raise Refused(f"'text' has at most {self._max_text} characters", code="too_long")
        if body.content_type is not None:
            _bound("content_type", body.content_type, MAX_NAME)
        if body.emoji is not None:
            _bound("emoji", body.emoji, MAX_NAME)
        attachment = body.attachment
        if attachment is not None:
            _bound("name", attachment.name, MAX_NAME)
            _bound("content_type", attachment.content_type, MAX_NAME)
            _bound("url", attachment.url, MAX_URL)


def _bound(field: str, text: str | None, most: int) -> None:
    if text is not None and len(text) > most:
        raise Refused(f"'{field}' has at most {most} characters", code="too_long")
