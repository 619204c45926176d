"""The checker finds each kind of contradiction, and nothing in a good run."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.faults.checker import Mark, Operation, Outcome, Row, Run, Sample, check, summary


def good() -> Run:
    rows = [Row("c", seq, f"m{seq}", n=seq, sender="a", token=f"m{seq}") for seq in (1, 2, 3)]
    operations = [Operation("a", "send", "c", row.id, Outcome.OK) for row in rows]
    operations += [
        Operation("a", "repeat", "c", "m2", Outcome.OK),
        Operation("a", "send", "c", "poison", Outcome.FAIL, "dead_letter"),
        Operation("a", "send", "c", "m3", Outcome.UNKNOWN),
        Operation("x", "intrude", "c", "m8", Outcome.FAIL, "forbidden"),
    ]
    return Run(
        operations=operations,
        stored=rows,
        received={"a": list(rows), "b": list(rows), "x": []},
        history={"c": ["m1", "m2", "m3"]},
        members={"c": {"a", "b"}},
        marks=[Mark("c", "b", 0, 0, 0), Mark("c", "b", 2, 1, 1), Mark("c", "b", 3, 3, 3)],
        samples=[Sample("waiting", 20, 20)],
        letters={"poison"},
    )


def test_a_good_run_has_no_finding() -> None:
    assert check(good()) == []


def test_voids_fill_slots_without_counting() -> None:
    run = good()
    run.stored.append(Row("c", 4, "v", n=3, type="void", sender="svc-bridge"))
    run.received["a"].append(run.stored[3])
    assert check(run) == []


def test_a_void_that_was_counted_is_found() -> None:
    run = good()
    run.stored += [
        Row("c", 4, "v", n=3, type="void", sender="svc-bridge"),
        Row("c", 5, "m5", n=5, sender="a", token="m5"),
    ]
    run.operations.append(Operation("a", "send", "c", "m5", Outcome.OK))
    run.received["a"] += run.stored[3:]
    run.received["b"] += run.stored[3:]
    run.history["c"].append("m5")
    assert [finding.kind for finding in check(run)] == ["count"]


def lose(run: Run) -> None:
    run.operations.append(Operation("a", "send", "c", "m9", Outcome.OK))


def haunt(run: Run) -> None:
    run.operations = [one for one in run.operations if one.id != "m3"]
    run.operations.append(Operation("a", "send", "c", "m3", Outcome.FAIL, "not_a_writer"))


def invent(run: Run) -> None:
    run.stored.append(Row("c", 4, "m4", n=4, sender="a"))


def repeat(run: Run) -> None:
    run.stored.append(Row("c", 4, "m4", n=4, sender="a", token="m3"))


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


def let_in(run: Run) -> None:
    run.operations.append(Operation("x", "intrude", "c", "m9", Outcome.OK))


def overhear(run: Run) -> None:
    run.received["x"].append(run.stored[0])


def sink(run: Run) -> None:
    run.marks.append(Mark("c", "b", 3, 2, 2))


def overrun(run: Run) -> None:
    run.marks.append(Mark("c", "b", 4, 3, 3))


def outrun(run: Run) -> None:
    run.marks[-1] = Mark("c", "b", 2, 3, 3)


def misread(run: Run) -> None:
    run.marks[-1] = Mark("c", "b", 3, 3, 2)


def grow(run: Run) -> None:
    run.samples.append(Sample("waiting", 21, 20))


def forget(run: Run) -> None:
    run.letters.clear()


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
        (haunt, "ghost"),
        (let_in, "intruder"),
        (overhear, "intruder"),
        (sink, "sank"),
        (overrun, "watermark"),
        (outrun, "watermark"),
        (misread, "watermark"),
        (grow, "unbounded"),
        (forget, "unparked"),
    ],
)
def test_each_contradiction_is_found(spoil: Callable[[Run], None], kind: str) -> None:
    run = good()
    spoil(run)
    findings = check(run)
    assert kind in {finding.kind for finding in findings}
    assert kind in summary(findings)
