"""Which payloads are plain bytes, to be wrapped, and which must be an envelope."""

from __future__ import annotations

import msgspec

from chat.ids import is_device
from chat.topics import JSON_CONTENT_TYPE

_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


def is_plain(sender: str, payload: bytes, content_type: str | None) -> bool:
    """Whether the payload is a reading or a text as it is, not an envelope.

    A content type other than JSON says so, whoever sends it. A device need not say anything: unless what it sends looks like an
    envelope (a JSON object with `id` and `type` or `body`), it is plain.
    """
    return says_plain(content_type) or (is_device(sender) and not _looks_like_envelope(payload))


def says_plain(content_type: str | None) -> bool:
    """Whether a content type says that the payload is no envelope."""
    return content_type is not None and content_type.partition(";")[0].strip().lower() != JSON_CONTENT_TYPE


def _looks_like_envelope(payload: bytes) -> bool:
    try:
        fields = _object.decode(payload)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return "id" in fields and ("type" in fields or "body" in fields)
