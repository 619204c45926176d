"""The API's benchmark: rates rise until a route gives out, and each row is judged by the budget where that is for it."""

from __future__ import annotations

from rich.console import Console

from bench.api.cases import CASES, PAGE_BUDGET, Case, Route, verdict
from bench.api.report import Result, markdown
from bench.api.run import rising

QUIET = Console(quiet=True)


def result(rate: float, p99: float = 0.004) -> Result:
    return Result(
        rate=rate, p50=0.002, p99=p99, most=p99, size=2048, cpu={"api": 0.3, "mongo": 0.2}, load=0.1, others=0
    )


def page(rate: int) -> Case:
    return Case(Route.NEWEST, rate, budget=PAGE_BUDGET)


def test_a_row_is_judged_by_the_budget_up_to_its_rate() -> None:
    assert verdict(page(300), rate=299, p99=0.0099) == "aim"
    assert verdict(page(300), rate=299, p99=0.0101) == "must"
    assert verdict(page(300), rate=299, p99=0.0201) == "**missed**"
    assert verdict(page(300), rate=250, p99=0.004) == "**does not keep up**"
    assert verdict(page(400), rate=399, p99=0.5) == "keeps up"
    assert verdict(page(400), rate=300, p99=0.5) == "does not keep up"
    assert verdict(Case(Route.SEND, 50), rate=50, p99=0.5) == "keeps up"


def test_the_rates_of_each_route_rise_to_beyond_the_budget() -> None:
    for route in Route:
        rates = [case.rate for case in CASES if case.route is route]
        assert rates == sorted(set(rates))
        assert len(rates) > 1
        budgets = {case.budget for case in CASES if case.route is route} - {None}
        assert all(budget.rate in rates and rates[-1] > budget.rate for budget in budgets if budget is not None)


def test_a_route_that_does_not_keep_up_is_not_asked_for_more_and_others_are() -> None:
    asked: list[str] = []

    def measure(case: Case) -> Result:
        asked.append(case.name)
        if case.route is Route.SEND:
            raise RuntimeError("of 5 requests 4 were answered 201")
        return result(min(case.rate, 210))

    cases = [page(100), page(300), page(400), Case(Route.SEND, 50), Case(Route.SEND, 100), Case(Route.CHATS, 5)]
    report = rising(cases, measure, rounds=2, console=QUIET)
    assert asked == ["newest@100", "newest@300", "send@50", "chats@5"] * 2
    assert {name: len(rounds) for name, rounds in report.results.items()} == {
        "newest@100": 2,
        "newest@300": 2,
        "chats@5": 2,
    }
    assert len(report.failures) == 2
    rows = [line for line in markdown(report).splitlines() if line.startswith(("| history", "| chat"))]
    cells = [[cell.strip() for cell in row.split("|")] for row in rows]
    assert [row[2:8] for row in cells] == [
        ["100", "100", "2.0", "4.0", "20, 10", "aim"],
        ["300", "210", "2.0", "4.0", "20, 10", "**does not keep up**"],
        ["5", "5", "2.0", "4.0", "-", "keeps up"],
    ]
