import json
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.broker import BEGIN, END, replaced, write
from bench.chart import draw
from bench.measure import Result
from bench.report import Ratio, Report, markdown, median, ratio
from bench.scenarios import BASE, SCENARIOS, FanOut, Idle, shortened, users
from bench.stats import percentile


def result(value: float, server: float = 1.0, others: float = 0.1) -> Result:
    return Result(value, (0.001, 0.002), None, server, 0.5, others)


def report() -> Report:
    names = [BASE, "exact", "v5", "idle"]
    made = Report({name: SCENARIOS[name] for name in names}, {"Pabal": "1", "Mosquitto": "2 <3>", "amqtt": "4"})
    for ours, theirs in ((150, 100), (130, 100), (300, 100)):
        made.add(BASE, "Pabal", result(ours, 0.5))
        made.add(BASE, "Mosquitto", result(theirs))
        made.add(BASE, "amqtt", result(5))
        made.add("exact", "Pabal", result(ours * 0.9))
        made.add("v5", "Pabal", result(ours, 0.5))
        made.add("v5", "Mosquitto", result(theirs))
        made.add("idle", "Pabal", result(6000))
        made.add("idle", "Mosquitto", result(1500))
    return made


def test_a_percentile_is_a_value_that_was_there() -> None:
    assert percentile([], 0.5) == 0.0
    assert percentile([5.0, 1.0, 3.0], 0.5) == 3.0
    assert percentile(range(100), 0.99) == 99


def test_each_field_of_a_median_is_its_own() -> None:
    found = median(
        [Result(1, (1, 9), None, 0.1, 0.9), Result(9, (2, 8), None, 0.2, 0.8), Result(5, (3, 7), None, 0, 1)]
    )
    assert found == Result(5, (2, 8), None, 0.1, 0.9)


def test_ratios_are_made_round_by_round() -> None:
    # The second round was slow for both: their medians would say 2.0.
    these, those = [result(200), result(30), result(220)], [result(100), result(20), result(100)]
    assert ratio(these, those, lower_is_better=False) == Ratio(2.0, 1.5, 2.2)
    assert ratio(these, [], lower_is_better=False) is None


def test_a_round_that_failed_is_left_out_and_its_partner_with_it() -> None:
    these, those = [result(200), None, result(220)], [result(100), result(1), result(100)]
    assert ratio(these, those, lower_is_better=False) == Ratio(2.1, 2.0, 2.2)
    assert median(these) == result(210)
    assert median([None]) is None
    made = report()
    made.add("idle", "amqtt", None)
    made.failures.append("round 1, idle, amqtt: no CONNACK after 120 s")
    text = markdown(made)
    assert "- Failed: round 1, idle, amqtt: no CONNACK after 120 s." in text
    assert "| memory of 10,000 idle connections | bytes per connection | 6,000 | 1,500 | - |" in text
    assert made.as_json()["results"]["idle"]["amqtt"] == [None]


def test_less_memory_is_a_better_ratio() -> None:
    assert report().ratio("idle", "Pabal") == Ratio(0.25, 0.25, 0.25)
    assert report().ratio(BASE, "Pabal") == Ratio(1.5, 1.3, 3.0)


def test_the_tables_have_a_row_per_scenario_and_a_dash_for_what_a_broker_can_not() -> None:
    text = markdown(report())
    assert (
        "| QoS 1, v3.1.1, window 20 | messages/s | 150 | 100 | 5 | 1.50 (1.30 to 3.00) | 0.05 | 3.00 (2.60 to 6.00) | 0.05 |"
        in text
    )
    assert (
        "| QoS 1, v5, window 20 | messages/s | 150 | 100 | - | 1.50 (1.30 to 3.00) | - | 3.00 (2.60 to 6.00) | - |"
        in text
    )
    assert "of the rate without them: Pabal 90% (45% per CPU)." in text
    for table in text.split("\n\n"):
        rows = [line for line in table.splitlines() if line.startswith("|")]
        assert len({row.count("|") for row in rows}) <= 1


def test_a_busy_machine_is_told_of() -> None:
    quiet = report()
    assert "took 0.10 cores (median), 0.10 at most" in markdown(quiet)
    assert "lower bounds" not in markdown(quiet)
    busy = Report({BASE: SCENARIOS[BASE]}, {"Pabal": "1"})
    busy.add(BASE, "Pabal", result(1, others=0.9))
    assert "lower bounds" in markdown(busy)


def test_a_row_of_memory_has_no_rate_per_cpu() -> None:
    (row,) = [
        line
        for line in markdown(report()).splitlines()
        if line.startswith("| memory of 10,000 idle") and "| Pabal |" in line
    ]
    assert row.endswith("| - |")


def test_the_picture_is_well_formed_and_holds_every_figure() -> None:
    root = ET.fromstring(draw(report()))  # noqa: S314 - ours
    texts = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert {"QoS 1, v3.1.1, window 20", "1.50", "0.25", "0.05"} <= set(texts)
    assert "exact" not in texts  # nothing to compare it with
    width, height = (float(part) for part in root.attrib["viewBox"].split()[2:])
    for circle in (element for element in root.iter() if element.tag.endswith("circle")):
        assert 0 < float(circle.attrib["cx"]) < width
        assert 0 < float(circle.attrib["cy"]) < height


def test_what_is_written_is_what_was_measured(tmp_path: Path) -> None:
    files = write(report(), tmp_path / "out")
    kept = json.loads(files[0].read_text())
    assert kept["results"][BASE]["Mosquitto"][0] == {
        "value": 100.0,
        "ack": [0.001, 0.002],
        "server": 1.0,
        "load": 0.5,
        "others": 0.1,
    }
    assert [file.suffix for file in files] == [".json", ".svg"]


def test_tables_are_replaced_between_their_marks() -> None:
    text = f"before\n{BEGIN}\nold\n{END}\nafter\n"
    assert replaced(text, "new") == f"before\n{BEGIN}\n\nnew\n\n{END}\nafter\n"
    assert replaced(replaced(text, "one"), "two") == replaced(text, "two")
    with pytest.raises(ValueError, match="no place"):
        replaced("nothing here", "new")


def test_a_quick_run_does_less_of_everything() -> None:
    for scenario in SCENARIOS.values():
        less = shortened(scenario)
        assert less != scenario
        assert type(less) is type(scenario)
    assert users(list(SCENARIOS.values())) == 10_000
    assert users([FanOut("x", 7), Idle(3)]) == 7
