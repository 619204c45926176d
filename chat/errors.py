"""The one tree of errors, and what each edge makes of a leaf.

PabalError
├── BadInput               the sender's fault; the same bytes will fail again
│   ├── InvalidId
│   ├── InvalidEnvelope
│   ├── TooLarge
│   └── Refused            a filter said no (spam, blocked words, …)
├── Unauthenticated        who are you?
├── Forbidden              we know who you are, and no
├── NotFound               not there, or not yours: the two answers are equal on purpose
├── Conflict               an id or name is taken by somebody else
├── RateLimited            later
└── Unavailable            our fault, transient: nothing was stored, send it again

Each class names its default stable `code` (documented, never reused), its HTTP `status` and its MQTT 5 PUBACK
`reason_code`. `ours` says whose fault it is: a message that failed through ours must never be acknowledged to an MQTT
3.1.1 client, which would take the PUBACK for success; one that failed through the sender's is acknowledged and rejected
on the inbox.
"""

from __future__ import annotations

from typing import ClassVar


class PabalError(Exception):
    """Root of the tree. `str(error)` is the reason shown to people: never a secret, never a message's text.

    Args:
        reason: one sentence for the person or log that sees it.
        code: a more exact stable code than the class's own.
    """

    code: str = "internal"
    status: ClassVar[int] = 500
    reason_code: ClassVar[int] = 0x80  # Unspecified error
    ours: ClassVar[bool] = True

    def __init__(self, reason: str, *, code: str | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        if code is not None:
            self.code = code


class BadInput(PabalError):
    """The request itself is wrong."""

    code = "bad_input"
    status = 422
    reason_code = 0x83  # Implementation specific error
    ours = False


class InvalidId(BadInput):
    """An id has the wrong shape."""

    code = "invalid_id"


class InvalidEnvelope(BadInput):
    """A payload is not the JSON that the contract asks for (`not_json`, `invalid_envelope`)."""

    code = "invalid_envelope"
    reason_code = 0x99  # Payload format invalid


class TooLarge(BadInput):
    """More bytes than a limit allows."""

    code = "too_large"
    status = 413
    reason_code = 0x83


class Refused(BadInput):
    """A filter refused the content."""

    code = "refused"


class Unauthenticated(PabalError):
    """No credentials, or wrong ones."""

    code = "unauthenticated"
    status = 401
    reason_code = 0x87
    ours = False


class Forbidden(PabalError):
    """The principal is known and has no right to do this."""

    code = "forbidden"
    status = 403
    reason_code = 0x87  # Not authorized
    ours = False


class NotFound(PabalError):
    """There is no such thing, or none that this principal may know of."""

    code = "not_found"
    status = 404
    reason_code = 0x87
    ours = False


class Conflict(PabalError):
    """The id or name belongs to something else (`id_taken`, `handle_taken`)."""

    code = "conflict"
    status = 409
    reason_code = 0x83
    ours = False


class RateLimited(PabalError):
    """Too much in too short a time.

    Args:
        retry_after: seconds after which it is worth trying again.
    """

    code = "rate_limited"
    status = 429
    reason_code = 0x97  # Quota exceeded
    ours = False

    def __init__(self, reason: str, *, retry_after: float = 1.0, code: str | None = None) -> None:
        super().__init__(reason, code=code)
        self.retry_after = retry_after


class Unavailable(PabalError):
    """A part that is needed does not answer; nothing was stored."""

    code = "unavailable"
    status = 503
    reason_code = 0x97
