import json
import shutil
import statistics
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from bench.broker import replaced
from bench.path import run, systems
from bench.path.cases import (
    CASES,
    PAIRS,
    SIZE,
    Group,
    Messages,
    System,
    members,
    reader,
    room,
    rooms_read,
    rooms_written,
    shortened,
    writer,
)
from bench.path.chart import draw, round_step
from bench.path.group import GroupResult
from bench.path.load import Result, sender
from bench.path.naive import document
from bench.path.report import Report, markdown, per_message, servers
from bench.path.run import BEGIN, END, write
from bench.path.systems import Counts, counted
from bench.peers import PeerMissing
from chat.envelopes import read_send
from chat.ids import check_message_id, is_chat_id
from mqtt.codec import V311, Decoder
from mqtt.packets import Publish

CPU = {"broker": 1.2, "bridge": 2.0, "bridge 2": 1.0, "mongod": 3.0, "valkey": 0.5, "worker": 0.5, "load": 1.0}


def result(rate: float, *, cpu: dict[str, float] | None = None, missing: int = 0, dropped: int = 0) -> Result:
    counts = {"queue_full": dropped} if dropped else {}
    return Result(int(rate * 10), 10.0, (0.001, 0.002), (0.003, 0.004), cpu or CPU, 0.1, missing, counts)


def report() -> Report:
    made = Report({name: CASES[name] for name in ("window20", "rate2000", "chats10", "group", "naive")})
    made.versions = {System.PABAL: "this tree", System.NAIVE: "2 <3>"}
    group = GroupResult(0.05, 0.01, 0.04, 1.0, {"rows in messages": 1.0, "documents updated": -0.2}, CPU)
    for ours, theirs in ((10_000, 1_000), (3_000, 200), (8_000, 1_000)):
        made.results.setdefault("window20", []).append(result(ours))
        made.results.setdefault("rate2000", []).append(result(2_000))
        made.results.setdefault("chats10", []).append(result(4_000, missing=12, dropped=12))
        made.results.setdefault("group", []).append(group)
        made.results.setdefault("naive", []).append(result(theirs))
    return made


# ---- who writes where


@pytest.mark.parametrize("chats", [10, 40, 1_000])
def test_every_chat_is_written_and_has_one_reader(chats: int) -> None:
    written = {chat for number in range(PAIRS) for chat in rooms_written("x", chats, number)}
    read = [chat for number in range(PAIRS) for chat in rooms_read("x", chats, number)]
    assert written == set(read) == {room("x", number) for number in range(chats)}
    assert len(read) == chats
    assert all(rooms_written("x", chats, number) for number in range(PAIRS))


def test_members_are_those_who_write_and_read() -> None:
    found = members("x", 10)
    assert found[room("x", 3)] == [writer(3), reader(3), writer(13)]
    assert all(map(is_chat_id, found))


def test_titles_say_what_is_not_as_usual() -> None:
    assert CASES["window20"].title == CASES["naive"].title == "window 20"
    assert Messages(rate=2_000, bridges=4, away=True).title == "2,000/s, 4 bridges, a member away"


def test_a_quick_run_says_that_it_has_fewer_chats_and_members() -> None:
    assert shortened(CASES["chats10000"]).title == "window 20, 2,000 chats"
    assert shortened(Group(5_000, 2_000)).title == "a chat of 1,000, 400 of them connected"


# ---- messages


def test_a_message_is_what_the_bridge_takes_and_has_1_kib() -> None:
    make = sender("writer00", ["g-a", "g-b"], "-7000-8abc-")
    found = []
    for _ in range(3):
        head, tail = make()
        (packet,) = Decoder(version=V311).feed(head + b"\0\1" + tail)
        assert isinstance(packet, Publish)
        found.append(packet)
    assert [packet.topic for packet in found] == [f"chats/g-{one}/send/writer00" for one in "bab"]
    sent = [read_send(packet.payload) for packet in found]
    assert len({check_message_id(one.id) for one in sent}) == 3
    assert {len(packet.payload) for packet in found} == {SIZE}
    assert "가나다라" in (sent[0].body.text or "")


def test_the_script_of_the_baseline_stores_what_was_sent() -> None:
    stored = document("chats/g-1/send/writer00", '{"id": "1", "type": "message", "body": {"text": "안녕"}}'.encode())
    assert (stored["_id"], stored["chat"], stored["sender"]) == ("1", "g-1", "writer00")
    assert stored["body"] == {"text": "안녕"}


# ---- what was dropped


def test_dropped_is_read_per_reason_and_refused_of_all_processes() -> None:
    broker = 'pabal_broker_dropped_total{reason="queue_full"} 7.0\npabal_broker_refused_total{reason="acl"} 2.0\n'
    bridge = 'pabal_bridge_refused_total{code="rate"} 3.0\npabal_bridge_stored_total 9.0\n'
    assert counted([broker, bridge, bridge]) == Counts({"queue_full": 7}, 8)


def test_only_what_was_added_counts() -> None:
    since = Counts({"queue_full": 7, "old": 2, "new": 1}, 8).since(Counts({"queue_full": 4, "old": 2}, 8))
    assert since == Counts({"queue_full": 3, "new": 1}, 0)


def test_what_is_missing_and_not_counted_as_dropped_is_lost() -> None:
    assert result(100, missing=5, dropped=5).lost == 0
    assert result(100, missing=5, dropped=2).lost == 3
    assert result(100, missing=0, dropped=2).lost == 0


async def test_it_waits_until_the_broker_takes_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"# HELP\npabal_broker_messages_in_total {count}\nother 1\n" for count in ("5.0", "9.0", "9.0", "9.0")]
    looks = iter(texts)
    monkeypatch.setattr(systems, "_read", lambda _: next(looks))
    await systems.quiet(systems.Running(1, {}, str.encode, ("http://x",), ""), still=0.0)
    assert list(looks) == texts[3:]


# ---- the report


def test_cpu_is_per_message_and_several_bridges_are_one() -> None:
    one = result(1_000)
    assert per_message(one) == pytest.approx(
        {"broker": 120, "bridge": 300, "mongod": 300, "the rest": 100, "load": 100}
    )
    assert servers(one) == pytest.approx(820)


def test_ratios_to_the_baseline_are_made_round_by_round() -> None:
    # The second round was slow for both: the medians alone would say 8.
    assert report().against_baseline(lambda one: one.rate) == pytest.approx(10)
    assert Report({}).against_baseline(lambda one: one.rate) is None


def test_the_table_has_a_row_per_case_with_medians() -> None:
    text = markdown(report())
    (row,) = [line for line in text.splitlines() if line.startswith("| window 20 |")]
    assert row.startswith("| window 20 | 8,000 | 1.0, 2.0 | 3.0, 4.0 | 15 | 38 | 38 | 12 | 102 | 0.82 | 0.10 | 0 |")
    assert "| Mosquitto + script: window 20 | 1,000 |" in text
    assert "10.0 times the messages/s" in text
    assert "the broker dropped, and counted: queue_full 36" in text
    assert "not counted as dropped" not in text


def test_a_loss_is_told() -> None:
    made = report()
    made.results["window20"][0] = result(100, missing=9)
    assert "9 messages are missing and were not counted as dropped" in markdown(made)


def test_a_large_chat_has_a_table_of_its_own() -> None:
    text = markdown(report())
    assert "| publish to all who are connected, ms | 40.0 |" in text
    assert "rows in messages | 1 |" in text
    assert "documents updated | 0 |" in text


def test_a_case_that_failed_leaves_the_others() -> None:
    made = report()
    made.results["chats10"] = [None, None, None]
    made.failures.append("round 1/3, chats10: no")
    text = markdown(made)
    assert "- Failed: round 1/3, chats10: no." in text
    assert "10 chats |" not in text
    ET.fromstring(draw(made))  # noqa: S314 - our own


def test_the_picture_shows_what_runs_as_fast_as_it_can() -> None:
    root = ET.fromstring(draw(report()))  # noqa: S314 - our own
    words = [element.text for element in root.iter() if element.tag.endswith("text")]
    assert "Mosquitto + script: window 20" in words
    assert "8,000" in words
    assert "2,000/s" not in words
    width = float(root.attrib["viewBox"].split()[2])
    bars = [element.attrib for element in root.iter() if element.tag.endswith("rect")]
    assert max(float(bar.get("x", 0)) + float(bar["width"]) for bar in bars) <= width


def test_an_empty_report_is_a_picture_too() -> None:
    ET.fromstring(draw(Report({})))  # noqa: S314 - our own


@pytest.mark.parametrize(("most", "step"), [(9_000, 2_500), (41, 20), (4, 1), (1_200, 500)])
def test_grid_lines_are_round(most: float, step: float) -> None:
    assert round_step(most) == step


def test_raw_figures_and_the_picture_are_written(tmp_path: Path) -> None:
    files = write(report(), tmp_path / "out")
    kept = json.loads(files[0].read_text())
    assert statistics.median(one["messages"] for one in kept["results"]["window20"]["rounds"]) == 80_000
    assert kept["results"]["naive"]["system"] == "Mosquitto + script"
    assert files[1].read_text().startswith("<svg")


# ---- the command


def test_the_readme_has_a_place_for_the_tables_and_the_picture() -> None:
    text = Path(run.HERE, "README.md").read_text()
    assert "a new table" in replaced(text, "a new table", begin=BEGIN, end=END)
    assert "](results/path.svg)" in text


def test_a_broker_that_is_missing_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert run.main(["--only", "naive"]) == 1
    assert "apt-get install mosquitto" in capsys.readouterr().err
    assert issubclass(PeerMissing, Exception)
