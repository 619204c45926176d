"""Walks over MQTT frames without parsing each: runs of frames that look alike are found by strides, at the speed of C.

A load generator sees thousands of packets of one size in a row: the same message again and again, and its acknowledgements.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

PUBLISH = 3


class Run(NamedTuple):
    """`frames` of them in a row with the same fixed header (and, for PUBLISH, the same length of the topic).

    Attributes:
        first: the first byte: type and flags.
        pos: where the first of them starts.
        body: bytes of the fixed header: where a frame's variable header starts.
        length: bytes of one whole frame.
    """

    first: int
    pos: int
    body: int
    length: int
    frames: int

    @property
    def end(self) -> int:
        """One behind the last of them."""
        return self.pos + self.length * self.frames

    def column(self, data: bytes | bytearray, offset: int) -> bytes | bytearray:
        """The byte at `offset` of each frame."""
        return data[self.pos + offset : self.end : self.length]


def runs(data: bytes | bytearray, size: int) -> Iterator[Run]:
    """The whole frames in `data[:size]`, as runs; what is left over starts at the last one's `end`."""
    pos = 0
    while (frame := _frame(data, pos, size)) is not None:
        body, length = frame
        count = (size - pos) // length
        if count > 1:
            alike = body + 2 if data[pos] >> 4 == PUBLISH else body
            count = _alike(data, pos, alike, length, count)
        yield Run(data[pos], pos, body, length, count)
        pos += length * count


def _frame(data: bytes | bytearray, pos: int, size: int) -> tuple[int, int] | None:
    """Bytes of the fixed header, and of the whole frame at `pos`; None if it isn't all there."""
    value, at = 0, pos + 1
    for shift in (0, 7, 14, 21):
        if at >= size:
            return None
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            length = at - pos + value
            return (at - pos, length) if pos + length <= size else None
    raise ValueError("a remaining length of more than four bytes")


def _alike(data: bytes | bytearray, pos: int, head: int, length: int, count: int) -> int:
    """How many of `count` strides begin with the same `head` bytes: where one differs, the next is no frame's start."""
    for offset in range(min(head, length)):
        column = data[pos + offset : pos + length * count : length]
        count = len(column) - len(column.lstrip(column[:1]))
        if count == 1:
            break
    return count
