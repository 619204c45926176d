"""docs/security.md answers every item of ASVS 5.0, levels 1 and 2, once, and names tests that are there; and what it claims of the code."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

from stack.processes import REPOSITORY

ITEMS = [line.split()[0] for line in Path(__file__).with_name("asvs_items.txt").read_text().splitlines()]
STATES = {"met", "operator", "no such part", "open"}
PACKAGES = ["chat", "mqtt", "adapters", "broker", "bridge", "api", "workers", "clients", "stack"]


def rows() -> Iterator[tuple[list[str], str, str]]:
    """(items, state, text) of every row."""
    page = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    for line in page.splitlines():
        if re.match(r"\| V\d", line):
            items, state, text = (cell.strip() for cell in line.strip("|").split("|", 2))
            yield items.split(), state, text


def test_every_item_is_answered_once() -> None:
    answered = [item for items, _, _ in rows() for item in items]
    assert len(ITEMS) == 253
    assert sorted(answered) == sorted(set(answered)), "an item comes twice"
    assert set(ITEMS) - set(answered) == set()
    assert set(answered) - set(ITEMS) == set()


def test_every_answer_is_one() -> None:
    found = dict.fromkeys(STATES, 0)
    for items, state, text in rows():
        assert state in STATES, items
        found[state] += len(items)
        named = re.findall(r"`((?:tests|docs)/[\w/.-]+)(?:#[\w-]+)?`", text)
        for name in named:
            assert (REPOSITORY / name).exists(), f"{items}: {name} is not there"
            if name.startswith("tests/"):
                assert re.search(r"^\s*(async )?def test_", (REPOSITORY / name).read_text(), re.MULTILINE), name
        if state == "met":
            assert any(name.startswith("tests/") for name in named), f"{items}: which test shows it?"
        else:
            assert len(text) > 5, items
    assert all(found.values()), found


def test_each_anchor_is_a_section() -> None:
    page = (REPOSITORY / "docs" / "security.md").read_text(encoding="utf-8")
    headings = {heading.lower().replace(" ", "-") for heading in re.findall(r"^## (.+)$", page, re.MULTILINE)}
    assert set(re.findall(r"`docs/security\.md#([\w-]+)`", page)) <= headings


# ---- what the page says of the code


@cache
def trees() -> list[tuple[str, ast.Module]]:
    files = [path for package in PACKAGES for path in sorted((REPOSITORY / package).rglob("*.py"))]
    return [(str(path.relative_to(REPOSITORY)), ast.parse(path.read_text(encoding="utf-8"))) for path in files]


def calls() -> Iterator[tuple[str, str, ast.Call]]:
    """(file, name, call) of every call; the name as it is written."""
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Call):
                yield file, ast.unparse(node.func), node


def test_nothing_is_evaluated() -> None:
    assert [(file, name) for file, name, _ in calls() if name in {"eval", "exec", "compile", "__import__"}] == []


def test_nothing_is_unpickled_and_no_shell_is_started() -> None:
    wrong = ("pickle.", "marshal.", "shelve.", "yaml.load", "os.system", "os.popen")
    assert [(file, name) for file, name, _ in calls() if name.startswith(wrong)] == []
    shells = [
        (file, name)
        for file, name, call in calls()
        for word in call.keywords
        if word.arg == "shell" and not (isinstance(word.value, ast.Constant) and word.value.value is False)
    ]
    assert shells == []


def test_no_weak_hashes() -> None:
    assert [
        (file, name) for file, name, _ in calls() if re.search(r"\b(md5|sha1|new)$", name) and "hashlib" in name
    ] == []


def test_random_is_for_waits_and_samples_only() -> None:
    users = {
        file
        for file, tree in trees()
        for node in ast.walk(tree)
        if (isinstance(node, ast.Import) and any(alias.name == "random" for alias in node.names))
        or (isinstance(node, ast.ImportFrom) and node.module == "random")
    }
    assert users == {"adapters/backoff.py", "chat/tracing.py", "clients/python/pacing.py", "workers/push/retry.py"}


def test_the_api_for_tests_is_imported_by_tests_alone() -> None:
    for file, tree in trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom):
                assert node.module not in {"api.testing", "stack.testing"}, file


@pytest.mark.parametrize("name", ["stack.txt", "dev.txt"])
def test_every_component_is_locked_by_its_hashes(name: str) -> None:
    text = (REPOSITORY / "requirements" / name).read_text()
    packages = re.findall(r"^([A-Za-z0-9._-]+)==\S+.*\\$", text, re.MULTILINE)
    assert len(packages) > 30
    assert text.count("--hash=sha256:") >= len(packages)
