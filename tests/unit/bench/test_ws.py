import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.server import ServerProtocol
from websockets.typing import Subprotocol

from bench.ws import Unframer, framed, handshake


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65_535, 65_536, 70_000])
def test_a_server_agrees_and_reads_what_is_framed(size: int) -> None:
    server = ServerProtocol(subprotocols=[Subprotocol("mqtt")], max_size=None)
    server.receive_data(handshake("localhost:1", "/mqtt"))
    (request,) = server.events_received()
    server.send_response(server.accept(request))
    unframer = Unframer()
    assert unframer.feed(b"".join(server.data_to_send())) == b""
    assert unframer.open
    server.receive_data(framed(b"m" * size))
    (frame,) = server.events_received()
    assert isinstance(frame, Frame)
    assert (frame.opcode, frame.data) == (Opcode.BINARY, b"m" * size)


@settings(deadline=None)
@given(st.lists(st.sampled_from([0, 1, 125, 126, 1_000, 70_000]), max_size=4), st.sampled_from([1_000, 1_001, 65_536]))
@example([0, 3, 125, 126], 1)
def test_frames_are_taken_off_however_they_arrive(sizes: list[int], step: int) -> None:
    stream = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
    stream += b"".join(Frame(Opcode.BINARY, b"s" * size).serialize(mask=False) for size in sizes)
    unframer, got = Unframer(), b""
    for start in range(0, len(stream), step):
        got += unframer.feed(stream[start : start + step])
    assert got == b"s" * sum(sizes)


@pytest.mark.parametrize(
    "said", [b"HTTP/1.1 403 Forbidden\r\n\r\n", b"HTTP/1.1 101 Switching Protocols\r\n\r\n\x88\x02\x03\xe8"]
)
def test_a_refusal_and_a_close_are_errors(said: bytes) -> None:
    with pytest.raises(ConnectionError):
        Unframer().feed(said)
