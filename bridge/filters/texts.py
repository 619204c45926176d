"""What a person reads of a message: the texts that content filters look at."""

from __future__ import annotations

import msgspec

from bridge.decode import Draft

_json = msgspec.json.Encoder()


def texts(draft: Draft) -> list[str]:
    """Every text of a message, the address of an attachment included.

    `data` counts as the text that it is, or as its JSON; base64 and `cipher` are opaque.
    """
    body = draft.send.body
    if body is None:
        return []
    if body.text is not None:
        return [body.text]
    attachment = body.attachment
    if attachment is not None:
        return [attachment.url] if attachment.name is None else [attachment.url, attachment.name]
    if body.data is None or body.encoding is not None:
        return []
    return [body.data if isinstance(body.data, str) else _json.encode(body.data).decode()]
