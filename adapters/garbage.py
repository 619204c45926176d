"""Python's cyclic garbage collector, told what a server is like.

By default a full collection comes whenever the number of long-lived objects has grown by a quarter, and it walks over every object of
the process, most of them modules and classes that live as long as it does: 50 to 80 ms in which nothing is sent, once a second under load
(measured in the bridge and the broker; it was their p99). What is freed by reference counting, which is nearly everything, needs none.
"""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator

THRESHOLDS = (10_000, 20, 50)
"""Objects more than before the last young collection; young collections per middle one; middle ones per full one."""


def rarely(objects: int = THRESHOLDS[0]) -> None:
    """Leave out what is alive now, and collect the rest less often. Call it once everything is constructed.

    Args:
        objects: more than before, at which a young collection comes.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(objects, *THRESHOLDS[1:])


@contextlib.contextmanager
def none() -> Iterator[None]:
    """Collect nothing inside: for work of which all that is made stays."""
    collected = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if collected:
            gc.enable()
