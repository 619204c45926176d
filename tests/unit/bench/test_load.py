import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from bench.load import Tally, Target, Who, engine
from mqtt.codec import V5, V311, Decoder, encode
from mqtt.packets import ConnAck, Connect, Disconnect, Packet, PubAck, Publish

MESSAGES, PAYLOAD = 400, 16_384


class Server(threading.Thread):
    """Takes one connection, lets it in, and answers each publish; reads only while it may."""

    def __init__(self, version: int, *, reason: int = 0, then: Packet | None = None) -> None:
        super().__init__(daemon=True)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        self.may_read = threading.Event()
        self.got: list[Publish] = []
        self._version, self._reason, self._then = version, reason, then

    def run(self) -> None:
        connection, _ = self._listener.accept()
        with connection, self._listener:
            decoder = Decoder(version=self._version, max_packet=1 << 20)
            for packet in decoder.feed(connection.recv(4096)):
                assert isinstance(packet, Connect)
                connection.sendall(encode(ConnAck(False, self._reason), self._version))
            if self._then is not None:
                connection.sendall(encode(self._then, self._version))
            self.may_read.wait(10)
            while data := connection.recv(65_536):
                publishes = [packet for packet in decoder.feed(data) if isinstance(packet, Publish)]
                self.got += publishes
                connection.sendall(b"".join(encode(PubAck(one.packet_id), self._version) for one in publishes))


@contextmanager
def serving(server: Server) -> Iterator[Server]:
    server.start()
    try:
        yield server
    finally:
        server.may_read.set()
        server.join(10)


@pytest.mark.parametrize("version", [V311, V5])
def test_what_the_broker_does_not_read_waits_and_is_sent_whole(version: int) -> None:
    sent = Tally()
    with serving(Server(version)) as server, engine() as load:
        (client,) = load.open(Target(server.port), [Who("a", "a", b"b", version)], Tally())
        client._tally = sent
        client.publish("방/1", PAYLOAD, qos=1, count=MESSAGES, window=MESSAGES)
        assert client._unsent  # more than the socket takes at once
        server.may_read.set()
        load.run(lambda: sent.acked == MESSAGES, seconds=30, what="answers")
    assert [one.packet_id for one in server.got] == list(range(1, MESSAGES + 1))
    assert {(one.topic, len(one.payload)) for one in server.got} == {("방/1", PAYLOAD)}
    assert len(sent.latencies) == MESSAGES


def test_no_more_than_the_window_is_under_way() -> None:
    sent = Tally()
    with serving(Server(V311)) as server, engine() as load:
        server.may_read.set()
        (client,) = load.open(Target(server.port), [Who("a", "a", b"b")], sent)
        client.publish("a", 64, qos=1, count=100, window=7)
        most = 0

        def done() -> bool:
            nonlocal most
            most = max(most, len(client._sent))
            return sent.acked == 100

        load.run(done, seconds=30, what="answers")
    assert most == 7


@pytest.mark.parametrize(
    ("server", "why"),
    [(Server(V5, reason=0x87), "refused: 0x87"), (Server(V5, then=Disconnect(0x8B)), "disconnects a")],
)
def test_a_refusal_and_a_disconnect_are_errors(server: Server, why: str) -> None:
    with serving(server), engine() as load:

        def work() -> None:
            load.open(Target(server.port), [Who("a", "a", b"b", V5)], Tally())
            load.run(lambda: False, seconds=10, what="anything")

        with pytest.raises(ConnectionError, match=why):
            work()


def test_what_never_comes_is_a_timeout() -> None:
    with serving(Server(V311)) as server, engine() as load:
        load.open(Target(server.port), [Who("a", "a", b"b")], Tally())
        with pytest.raises(TimeoutError, match=r"no answers after 0.1 s"):
            load.run(lambda: False, seconds=0.1, what="answers")
