"""The collector of a server: what stands is left out, cycles are still collected."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Iterator

import pytest

from adapters import garbage


@pytest.fixture
def collector() -> Iterator[None]:
    before = gc.get_threshold()
    yield
    gc.set_threshold(*before)
    gc.unfreeze()


class Node:
    def __init__(self) -> None:
        self.me = self


@pytest.mark.usefixtures("collector")
def test_what_stands_is_left_out_and_new_cycles_are_still_collected() -> None:
    gc.collect()  # what earlier tests have left does not stand
    standing = len(gc.get_objects())
    garbage.rarely()
    assert gc.get_freeze_count() >= standing * 0.9
    assert len(gc.get_objects()) < standing * 0.1
    assert gc.get_threshold() == garbage.THRESHOLDS
    assert gc.isenabled()
    lost = weakref.ref(Node())
    kept = [[] for _ in range(garbage.THRESHOLDS[0] + 1)]  # type: list[list[int]]
    assert lost() is None
    assert kept


@pytest.mark.usefixtures("collector")
def test_nothing_is_collected_inside_and_afterwards_all_is_as_it_was() -> None:
    with garbage.none():
        assert not gc.isenabled()
    assert gc.isenabled()
    gc.disable()
    try:
        with garbage.none():
            pass
        assert not gc.isenabled()
    finally:
        gc.enable()
