"""What the broker and the bridge answer to a message, as our errors."""

from __future__ import annotations

from api.access import unknown_chat
from chat.errors import (
    BadInput,
    Conflict,
    Forbidden,
    InvalidEnvelope,
    InvalidId,
    NotFound,
    PabalError,
    RateLimited,
    Refused,
    TooLarge,
    Unavailable,
)
from chat.ports import Published

REFUSED_FROM = 0x80
"""MQTT 5 reason codes from here on are refusals [MQTT5 2.4]."""

# The PUBACK's `code`, where the reason code alone says too little.
_BY_CODE: dict[str, type[PabalError]] = {
    "bad_input": BadInput,
    "invalid_id": InvalidId,
    "invalid_envelope": InvalidEnvelope,
    "not_json": InvalidEnvelope,
    "too_large": TooLarge,
    "refused": Refused,
    "forbidden": Forbidden,
    "not_yours": Forbidden,
    "unknown_target": NotFound,
    "conflict": Conflict,
    "id_taken": Conflict,
    "rate_limited": RateLimited,
    "chat_rate_limited": RateLimited,
    "unavailable": Unavailable,
}

# Codes that this table does not know: the class whose reason code it is.
_BY_REASON: dict[int, type[PabalError]] = {
    Refused.reason_code: Refused,
    InvalidEnvelope.reason_code: InvalidEnvelope,
    Forbidden.reason_code: Forbidden,
    Unavailable.reason_code: Unavailable,
}

_MEMBERSHIP_ENDED = frozenset({"unknown_chat", "not_a_writer", "not_a_member"})
"""What the bridge says of a sender who was a member when the api looked, and no longer is."""


def refusal(answer: Published) -> PabalError | None:
    """The error that a PUBACK is; None when the message was taken.

    A refusal for want of rights that names no code is the broker's and about this process, not about the sender: our fault, as
    is every reason that is not in the tables.
    """
    if answer.reason_code < REFUSED_FROM:
        return None
    if answer.code in _MEMBERSHIP_ENDED:
        return unknown_chat()
    kind = _BY_CODE.get(answer.code or "") or _BY_REASON.get(answer.reason_code)
    if kind is None or kind is Unavailable or (kind is Forbidden and answer.code is None):
        return Unavailable("the message could not be stored now; send it again with the same id")
    return kind(answer.reason or "the message was refused", code=answer.code)
