"""Each normative statement of MQTT has a test that shows it, or a reason why none is needed."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from stack.processes import REPOSITORY

VERSIONS = ("5.0", "3.1.1")

STATEMENTS = [tuple(line.split()) for line in Path(__file__).with_name("mqtt_statements.txt").read_text().splitlines()]


def rows(version: str) -> dict[str, str]:
    """What stands beside each statement of one version."""
    page = (REPOSITORY / "docs" / "mqtt-conformance.md").read_text(encoding="utf-8")
    part = re.split(r"^## ", page, flags=re.MULTILINE)[1 if version == "5.0" else 2]
    found = re.findall(r"^\| (MQTT-[\d.]+-\d+) \| (.+) \|$", part, re.MULTILINE)
    assert len(dict(found)) == len(found), "a statement stands twice"
    return dict(found)


@pytest.mark.parametrize("version", VERSIONS)
def test_every_statement_has_its_row(version: str) -> None:
    assert set(rows(version)) == {statement for of, statement in STATEMENTS if of == version}


@pytest.mark.parametrize("version", VERSIONS)
def test_every_row_names_a_test_that_exists_or_a_reason(version: str) -> None:
    for statement, shown in rows(version).items():
        named = re.fullmatch(r"`(tests/[\w/]+\.py)` (test_\w+)", shown)
        if named is None:
            assert re.fullmatch(r"– .{10,}", shown), f"{statement}: neither a test nor a reason"
            continue
        code = (REPOSITORY / named[1]).read_text(encoding="utf-8")
        assert re.search(rf"def {named[2]}\(", code), f"{statement}: {named[2]} is not there"
