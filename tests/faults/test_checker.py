"""The checker finds each kind of contradiction, and nothing in a good run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import Row, Run, check, summary


def good() -> Run:
    rows = [Row("c", seq, f"m{seq}", n=seq, sender="a") for seq in (1, 2, 3)]
    return Run(
        sent={row.id: ("c", "a") for row in rows},
        acked={"m1", "m2", "m3"},
        stored=rows,
        received={"a": list(rows), "b": list(rows)},
        history={"c": ["m1", "m2", "m3"]},
    )


def test_a_good_run_has_no_finding() -> None:
    assert check(good()) == []


def test_voids_fill_slots_without_counting() -> None:
    run = good()
    run.stored.append(Row("c", 4, "v", n=3, type="void", sender="svc-bridge"))
    run.received["a"].append(run.stored[3])
    assert check(run) == []


def lose(run: Run) -> None:
    run.acked.add("m9")
    run.sent["m9"] = ("c", "a")


def invent(run: Run) -> None:
    run.stored.append(Row("c", 4, "m4", n=4, sender="a"))


def repeat(run: Run) -> None:
    run.stored.append(Row("c", 4, "m3", n=4, sender="a"))


def skip(run: Run) -> None:
    run.stored[2] = replace(run.stored[2], seq=5)


def miscount(run: Run) -> None:
    run.stored[1] = replace(run.stored[1], n=1)


def miss(run: Run) -> None:
    run.received["b"].pop()


def swap(run: Run) -> None:
    rows = run.received["b"]
    rows[0], rows[1] = rows[1], rows[0]


def change(run: Run) -> None:
    run.received["b"][0] = replace(run.received["b"][0], id="m2")


def hide(run: Run) -> None:
    run.history["c"].remove("m2")


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lose, "lost"),
        (invent, "phantom"),
        (repeat, "twice"),
        (skip, "gap"),
        (miscount, "count"),
        (miss, "missed"),
        (swap, "order"),
        (change, "changed"),
        (hide, "history"),
    ],
)
def test_each_contradiction_is_found(spoil: Callable[[Run], None], kind: str) -> None:
    run = good()
    spoil(run)
    findings = check(run)
    assert kind in {finding.kind for finding in findings}
    assert kind in summary(findings)
