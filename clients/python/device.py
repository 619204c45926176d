"""`Device`: a thing that publishes plain bytes into a chat, over MQTT 3.1.1, as the smallest firmware would."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait
from typing import Literal, Self

from chat import topics
from clients.python.errors import Closed, ConnectRefused, ConnectTimeout, OutboxFull, SendRefused, SendTimeout
from clients.python.wire import Answer, Wire, WireSettings


class Device:
    """A device's connection. It comes back by itself; readings that are under way are sent again then.

    Args:
        host: of the broker.
        port: of the broker.
        device: its id, `dev-…`.
        secret: from its registration.
        client_id: `{device}` or `{device}:{instance}`.
        protocol: 4 for MQTT 3.1.1, or 5.
        window: readings under way at once.
    """

    def __init__(
        self,
        host: str,
        port: int,
        *,
        device: str,
        secret: str,
        client_id: str | None = None,
        protocol: Literal[4, 5] = 4,
        window: int = 10,
    ) -> None:
        self.device = device
        self._changed = threading.Condition()
        self._up = False
        self._refused: Answer | None = None
        self._closed = False
        self._waiting: set[Future[Answer]] = set()
        self._wire = Wire(
            WireSettings(
                host=host,
                port=port,
                username=device,
                password=secret,
                client_id=client_id or device,
                protocol=protocol,
                clean=True,
                session_expiry=0,
                window=window,
            ),
            self,
        )

    def __enter__(self) -> Self:
        self.connect()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def connect(self, timeout: float = 10.0) -> None:
        """Connect.

        Raises:
            ConnectRefused: the broker said no. The device is closed.
            ConnectTimeout: not connected in time. The device is closed.
        """
        self._wire.start()
        with self._changed:
            self._changed.wait_for(lambda: self._up or self._refused, timeout)
            up, refused = self._up, self._refused
        if up:
            return
        self.close()
        if refused is not None:
            raise ConnectRefused(refused.code or refused.name, refused.reason)
        raise ConnectTimeout(f"no connection within {timeout:g} s")

    def publish_reading(self, chat: str, payload: bytes, *, timeout: float = 10.0) -> None:
        """Publish bytes into a chat that the device is a member of, and wait until they are stored (promise P1).

        Over MQTT 3.1.1 a refusal can't be told from success here: it is on `users/{device}/inbox`.

        Raises:
            SendRefused: the broker refused it (MQTT 5).
            SendTimeout: no acknowledgement yet; it is sent again after a reconnect.
            OutboxFull: as many readings as may are under way, or there is no connection.
            Closed: the device was closed.
        """
        answer: Future[Answer] = Future()
        with self._changed:
            if self._closed:
                raise Closed("the device was closed")
            if self._wire.room <= 0:
                raise OutboxFull("no connection, or too many readings under way")
            self._waiting.add(answer)
        self._wire.publish(topics.send(chat, self.device), payload, answered=lambda got: self._answered(answer, got))
        if not wait([answer], timeout).done:
            raise SendTimeout(f"a reading for {chat}")
        got = answer.result()
        if not got.ok:
            code = got.code or got.name
            raise SendRefused(f"a reading for {chat}", code, got.reason, reason_code=got.reason_code)

    def close(self) -> None:
        """Disconnect and end."""
        with self._changed:
            self._closed = True
            waiting, self._waiting = self._waiting, set()
        for future in waiting:
            future.set_exception(Closed("the device was closed"))
        self._wire.stop()

    def up(self, *, session_present: bool) -> None:  # noqa: ARG002  # a publisher has no session to miss
        """For the wire: connected."""
        with self._changed:
            self._up = True
            self._changed.notify_all()

    def down(self, answer: Answer, *, final: bool) -> None:  # noqa: ARG002  # the wire itself acts on it
        """For the wire: disconnected, or not let in."""
        with self._changed:
            self._up = False
            if not answer.ok and answer.name != "unreachable":
                self._refused = answer
            self._changed.notify_all()

    def message(self, topic: str, payload: bytes) -> None:
        """For the wire: a device subscribes to nothing here."""

    def _answered(self, future: Future[Answer], answer: Answer) -> None:
        with self._changed:
            if future not in self._waiting:
                return  # closed meanwhile
            self._waiting.discard(future)
        future.set_result(answer)
