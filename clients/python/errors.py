"""Everything that the SDK raises.

ClientError
├── ApiError          REST: the server said no, with its stable code
├── Unreachable       REST: no answer at all
├── ConnectRefused    MQTT: the broker refused the connection, or ended it for good
├── ConnectTimeout    MQTT: not connected in time
├── JoinRefused       the chat may not be subscribed to
├── JoinTimeout       subscribed or caught up not in time
├── SendRefused       the message will never be stored as it is
├── SendTimeout       not known yet: the message stays in the outbox
├── OutboxFull        too many messages wait for their acknowledgement
└── Closed            the client was closed
"""

from __future__ import annotations


class ClientError(Exception):
    """Root of what the SDK raises."""


class ApiError(ClientError):
    """The API answered with a problem (RFC 9457).

    Args:
        status: the HTTP status.
        code: the stable code, such as `not_found`; `http_404` when the answer was no problem document.
        detail: one sentence for people.
        retry_after: seconds that the server asked to wait; None when it named none.
    """

    def __init__(self, status: int, code: str, detail: str, *, retry_after: float | None = None) -> None:
        super().__init__(f"{status} {code}: {detail}")
        self.status = status
        self.code = code
        self.detail = detail
        self.retry_after = retry_after


class Unreachable(ClientError):
    """The API did not answer: it may or may not have done what was asked."""


class ConnectRefused(ClientError):
    """The broker refused the connection, or ended it and will not have it back.

    Args:
        code: the reason code's name in lower case, such as `not_authorized`.
        reason: what the broker said beside it.
    """

    def __init__(self, code: str, reason: str | None = None) -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.code = code
        self.reason = reason


class ConnectTimeout(ClientError, TimeoutError):
    """No connection in the time that was given."""


class JoinRefused(ClientError):
    """The broker refused the subscription, or the chat can't be caught up with (`unknown_chat`).

    Args:
        chat: which; for `watch`, the user.
        code: the stable code, or the MQTT reason code's name.
        reason_code: of the SUBACK; None when it came another way.
    """

    def __init__(self, chat: str, code: str, reason_code: int | None = None) -> None:
        super().__init__(f"{chat}: {code}")
        self.chat = chat
        self.code = code
        self.reason_code = reason_code


class JoinTimeout(ClientError, TimeoutError):
    """The subscription or the first catching up took too long; what is subscribed stays so, and the SDK goes on asking."""


class SendRefused(ClientError):
    """The message was refused for good: it is not stored, and the same bytes would be refused again.

    Args:
        message_id: its id.
        code: the stable code, such as `invalid_envelope`; the MQTT reason code's name when the broker refused it itself.
        reason: one sentence for people.
        reason_code: of the PUBACK; None when it came on the inbox, or was seen before it was sent.
    """

    def __init__(
        self, message_id: str, code: str, reason: str | None = None, *, reason_code: int | None = None
    ) -> None:
        super().__init__(f"{code}: {reason}" if reason else code)
        self.id = message_id
        self.code = code
        self.reason = reason
        self.reason_code = reason_code


class SendTimeout(ClientError, TimeoutError):
    """No acknowledgement yet. The message stays in the outbox and is sent again, with the same id, until there is one."""

    def __init__(self, message_id: str) -> None:
        super().__init__(f"no acknowledgement yet for message {message_id}; it stays in the outbox")
        self.id = message_id


class OutboxFull(ClientError):
    """The outbox holds as many messages as its limit allows: wait for some of them."""


class Closed(ClientError):
    """The client was closed (a message that was in the outbox may or may not be stored; sending its id again is safe)."""
