import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.runs import Run, runs
from mqtt.codec import V5, V311, Decoder, encode
from mqtt.packets import Packet, PubAck, Publish, PubRec


def spread(data: bytes) -> list[tuple[int, bytes]]:
    """What the runs stand for, frame by frame: first byte, and all of it."""
    frames = []
    for run in runs(data, len(data)):
        for number in range(run.frames):
            start = run.pos + number * run.length
            frames.append((run.first, data[start : start + run.length]))
    return frames


PACKETS = st.one_of(
    st.builds(
        Publish,
        st.sampled_from(["a/b", "방/메시지", "devices/x/telemetry/value"]),
        st.binary(max_size=300),
        st.just(1),
        packet_id=st.integers(1, 65_535),
    ),
    st.builds(PubAck, st.integers(1, 65_535)),
    st.builds(PubRec, st.integers(1, 65_535)),
)


@settings(deadline=None)
@given(st.lists(st.tuples(PACKETS, st.integers(1, 5)), max_size=20), st.sampled_from([V311, V5]), st.integers(0, 400))
def test_runs_are_the_frames_that_the_decoder_finds(several: list[tuple[Packet, int]], version: int, cut: int) -> None:
    data = b"".join(encode(packet, version) * times for packet, times in several)
    data = data[: max(0, len(data) - cut)]
    decoder = Decoder(version=version)
    packets = decoder.feed(data)
    assert [frame for _, frame in spread(data)] == [encode(packet, version) for packet in packets]
    used = max((run.end for run in runs(data, len(data))), default=0)
    assert len(data) - used == decoder.pending


def test_packets_of_one_size_are_one_run() -> None:
    data = b"".join(encode(PubAck(number), V311) for number in range(1, 301))
    (run,) = runs(data, len(data))
    assert (run.first, run.length, run.frames) == (0x40, 4, 300)
    assert run.column(data, 3)[:3] == b"\x01\x02\x03"


def test_a_run_ends_where_a_topic_is_longer_though_the_frames_are_as_long() -> None:
    one = encode(Publish("ab", b"xyz", qos=1, packet_id=1), V311)
    other = encode(Publish("abc", b"xy", qos=1, packet_id=1), V311)
    assert len(one) == len(other)
    assert [run.frames for run in runs(one * 2 + other, 3 * len(one))] == [2, 1]


def test_what_stands_behind_the_size_is_not_looked_at() -> None:
    data = encode(PubAck(1), V311) * 2
    assert list(runs(data, 5)) == [Run(0x40, 0, 2, 4, 1)]


def test_a_length_of_five_bytes_is_no_frame() -> None:
    with pytest.raises(ValueError, match="remaining length"):
        list(runs(b"\x30\xff\xff\xff\xff\x01", 6))
