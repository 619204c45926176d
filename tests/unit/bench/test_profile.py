from pathlib import Path

import pytest

from bench.measure import Result
from bench.profile import area, shares, table, waits
from bench.scenarios import PLAIN

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("frame", "title"),
    [
        ("_publish (mqtt/decode.py:120)", "decoding"),
        ("TcpTransport.write (broker/tcp.py:90)", "socket writes"),
        ("TcpTransport.data_received (broker/tcp.py:40)", "event loop and reads"),
        ("Runner.run (asyncio/runners.py:118)", "event loop and reads"),
        ("Session.deliver (mqtt/session.py:10)", "session"),
        ("something (elsewhere.py:1)", "the rest"),
    ],
)
def test_what_was_running_belongs_to_an_area(frame: str, title: str) -> None:
    assert area(frame) == title


def test_shares_count_the_innermost_frame() -> None:
    stacks = "main (a.py:1);_publish (mqtt/decode.py:1) 30\nmain (a.py:1);match (mqtt/index.py:2) 10\n"
    assert shares(stacks) == [("decoding", 0.75), ("routing", 0.25)]


def test_a_thread_that_waits_for_work_does_not_count() -> None:
    source = (ROOT / "adapters/sqlite/sessions.py").read_text().splitlines()
    (waiting,) = [number for number, line in enumerate(source, 1) if "_work.get()" in line]
    frame = f"SqliteSessions._run (adapters/sqlite/sessions.py:{waiting})"
    assert waits(frame)
    assert not waits(f"SqliteSessions._run (adapters/sqlite/sessions.py:{waiting + 1})")
    assert not waits("f (nowhere.py:1)")
    assert shares(f"run;{frame} 60\nmain;_publish (mqtt/decode.py:1) 30\n") == [("decoding", 1.0)]


def test_most_of_the_engine_has_an_area() -> None:
    files = [f"{folder}/{file.name}" for folder in ("mqtt",) for file in (ROOT / folder).glob("*.py")]
    lost = {file for file in files if area(f"f ({file}:1)") == "the rest"}
    assert lost <= {"mqtt/__init__.py", "mqtt/filters.py", "mqtt/packets.py", "mqtt/properties.py", "mqtt/reasons.py"}


def test_the_table_splits_what_one_message_costs() -> None:
    text = table(PLAIN, Result(100_000, server=0.8), [("decoding", 0.5), ("routing", 0.5)])
    assert "8.0 µs" in text
    assert "| decoding | 50% | 4.00 |" in text
