"""Python's cyclic garbage collector, told what a server is like.

By default a full collection comes whenever the number of long-lived objects has grown by a quarter, and it walks over every object of
the process, most of them modules and classes that live as long as it does: 50 to 80 ms in which nothing is sent, once a second under load
(measured in the bridge and the broker; it was their p99). What is freed by reference counting, which is nearly everything, needs none.
"""

from __future__ import annotations

import gc

THRESHOLDS = (10_000, 20, 50)
"""Objects more than before the last young collection; young collections per middle one; middle ones per full one."""


def rarely() -> None:
    """Leave out what is alive now, and collect the rest less often. Call it once everything is constructed."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(*THRESHOLDS)
