"""From a message to the bytes that are sent, checked by the rules that the server has too."""

from __future__ import annotations

from chat.envelopes import Send, encode, read_send
from chat.errors import BadInput
from clients.python.errors import SendRefused


def compose(send: Send, *, max_bytes: int) -> bytes:
    """The envelope's JSON.

    The server would refuse the same; but over MQTT 3.1.1, which has no negative PUBACK, it can't always say of which message.

    Raises:
        SendRefused: the shape is wrong, or it is more than `max_bytes`.
    """
    payload = encode(send)
    try:
        read_send(payload, max_bytes=max_bytes)
    except BadInput as error:
        raise SendRefused(send.id, error.code, error.reason) from error
    return payload
