import resource
import shutil
from pathlib import Path

import pytest

from bench import broker


def test_a_broker_that_is_missing_is_named_with_the_way_to_get_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(shutil, "which", lambda *_, **__: None)
    assert broker.main(["--only", "pairs", "--peers", "mosquitto"]) == 1
    said = capsys.readouterr().err
    assert "mosquitto is not installed" in said
    assert "apt-get install mosquitto" in said


def test_too_few_open_files_are_told_before_anything_starts(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 4096))
    assert broker.main(["--only", "idle"]) == 1
    assert "10200 open files are needed, and 4096 allowed" in capsys.readouterr().err


def test_the_soft_limit_is_raised_as_far_as_it_may(monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[tuple[int, int]] = []
    monkeypatch.setattr(resource, "getrlimit", lambda _: (1024, 20_000))
    monkeypatch.setattr(resource, "setrlimit", lambda _, limits: done.append(limits))
    broker.open_files(10_200)
    broker.open_files(500)
    assert done == [(20_000, 20_000)]


def test_the_readme_has_a_place_for_the_tables_and_the_picture() -> None:
    text = Path(broker.HERE, "README.md").read_text()
    assert broker.replaced(text, "tables").count("tables") >= 1
    assert "](results/broker.svg)" in text
