"""The documents say what is so: links, files, settings, ports and error codes that they name are there, and none is missing."""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel
from pydantic_core import PydanticUndefined

from adapters.tracing import TracingSettings
from api.bootstrap import BootstrapSettings
from api.errors import _HTTP
from api.settings import Settings as ApiSettings
from bridge.dead_letters import Parked
from bridge.settings import Settings as BridgeSettings
from broker.settings import BrokerSettings, LimitSettings
from chat import errors
from chat.errors import PabalError
from stack import ports
from stack.mongo_init import MongoInitSettings
from stack.processes import REPOSITORY
from stack.settings import StackSettings
from workers.settings import WorkerSettings

SETTINGS: list[type[BaseModel]] = [
    TracingSettings,
    StackSettings,
    MongoInitSettings,
    BrokerSettings,
    LimitSettings,
    BridgeSettings,
    ApiSettings,
    BootstrapSettings,
    WorkerSettings,
]
CODE_PACKAGES = ["chat", "adapters", "broker", "bridge", "api"]
DOCUMENTS = sorted(
    path
    for path in [*REPOSITORY.glob("*.md"), *REPOSITORY.glob("docs/**/*.md"), *REPOSITORY.glob("clients/**/*.md")]
    if "node_modules" not in path.parts
)
TEXTS = [*DOCUMENTS, REPOSITORY / "docs" / "asyncapi.yaml"]


def _id(path: Path) -> str:
    return str(path.relative_to(REPOSITORY))


@cache
def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _doc(name: str) -> str:
    return _read(REPOSITORY / "docs" / name)


def _rows(text: str) -> Iterator[list[str]]:
    """The cells of every table row that begins with something in code font."""
    for line in text.splitlines():
        if line.startswith("| `"):
            yield [cell.strip() for cell in line.strip().strip("|").split("|")]


# ---- links and files


@pytest.mark.parametrize("path", DOCUMENTS, ids=_id)
def test_every_relative_link_leads_somewhere(path: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", _read(path)):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        found = (path.parent / file).resolve() if file else path
        assert found.exists(), f"{target} is not there"
        if anchor:
            headings = re.findall(r"^#+ (.+)$", _read(found), re.MULTILINE)
            slugs = {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}
            assert anchor in slugs, f"{target} has no such heading"


_FILE = re.compile(r"`((?:chat|mqtt|adapters|broker|bridge|api|workers|clients|stack|bench|tests|docs)/[\w./-]*\w/?)`")


@pytest.mark.parametrize("path", DOCUMENTS, ids=_id)
def test_every_file_of_the_repository_that_is_named_exists(path: Path) -> None:
    for name in _FILE.findall(_read(path)):
        assert (REPOSITORY / name).exists(), f"{name} is not there"


def test_every_promise_names_tests_that_exist() -> None:
    sections = re.split(r"^## (?=P\d)", _doc("promises.md").split("## What does not hold yet")[0], flags=re.MULTILINE)[
        1:
    ]
    assert [section[:2] for section in sections] == [f"P{number}" for number in range(1, 10)]
    for section in sections:
        files = re.findall(r"`(tests/[\w/]+\.py)`", section)
        assert files, f"no test for {section.splitlines()[0]}"
        for file in files:
            assert re.search(r"^\s*(async )?def test_", _read(REPOSITORY / file), re.MULTILINE), f"{file} tests nothing"


def test_every_decision_is_listed_and_has_its_parts() -> None:
    pages = sorted(path for path in (REPOSITORY / "docs" / "decisions").glob("*.md") if path.name != "README.md")
    assert [path.name[:4] for path in pages] == [f"{number:04}" for number in range(1, len(pages) + 1)]
    listed = re.findall(r"\[(\d{4})\]\((\S+)\) \| (.+) \|", _doc("decisions/README.md"))
    titles = [
        (path.name[:4], path.name, _read(path).splitlines()[0].removeprefix(f"# {path.name[:4]} ")) for path in pages
    ]
    assert listed == titles
    for path in pages:
        headings = [heading.split(" (")[0] for heading in re.findall(r"^## (.+)$", _read(path), re.MULTILINE)]
        assert headings == ["Context", "Decision", "Measured", "Consequences"], path.name
        assert "\nStatus: " in _read(path)


@pytest.mark.parametrize("path", TEXTS, ids=_id)
def test_no_document_names_where_it_was_written(path: Path) -> None:
    found = re.findall(
        r"/(?:work|home|root|Users)/|\bshared/|\bpypi\b|artifactory|devpi|\bnexus\b", _read(path), re.IGNORECASE
    )
    assert found == []


# ---- settings


def _defaults() -> dict[str, set[str]]:
    """Every setting with the defaults that it has, as the tables write them."""
    found: dict[str, set[str]] = {}
    for settings in SETTINGS:
        prefix = str(settings.model_config.get("env_prefix"))
        for name, field in settings.model_fields.items():
            found.setdefault(f"{prefix}{name.upper()}", set()).add(_written(field.default))
    return found


def _written(default: Any) -> str:
    if default is PydanticUndefined:
        return "required"
    if default is None:
        return "–"
    if default == "":
        return "empty"
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return f"`{default:g}`" if isinstance(default, float) else f"`{default}`"


def test_every_settings_class_is_checked() -> None:
    own = {
        path
        for path in REPOSITORY.glob("*/*.py")
        if path.parent.name not in {"tests", "docs"}
        and re.search(r"^class \w+\((?:\w+, )?BaseSettings\)", _read(path), re.MULTILINE)
    }
    assert own == {Path(inspect.getfile(settings)) for settings in SETTINGS}


def test_operations_has_every_setting_with_its_default() -> None:
    section = _doc("operations.md").split("\n## Settings", 1)[1].split("\n## Logs", 1)[0]
    table = {row[0].strip("`"): row[1] for row in _rows(section)}
    defaults = _defaults()
    in_ports = {port.setting for port in ports.TABLE}
    assert set(table) == set(defaults) - (in_ports - set(table))
    assert {name: cell for name, cell in table.items() if cell not in defaults[name]} == {}


@pytest.mark.parametrize("path", TEXTS, ids=_id)
def test_every_setting_that_is_named_exists(path: Path) -> None:
    known = set(_defaults())
    for name in re.findall(r"\bPABAL_[A-Z0-9_]+", _read(path)):
        assert name in known or (name.endswith("_") and any(other.startswith(name) for other in known)), name


def test_operations_has_the_port_table() -> None:
    section = _doc("operations.md").split("\n## Ports", 1)[1].split("\n## ", 1)[0]
    table = re.findall(r"^\| .+ \| (\d+) \| B\+(\d+) \| `(\w+)` \|$", section, re.MULTILINE)
    assert table == [(str(port.default), str(offset), port.setting) for offset, port in enumerate(ports.TABLE)]


# ---- names that operators look for


def _sources(packages: list[str]) -> str:
    return "\n".join(_read(path) for package in packages for path in sorted((REPOSITORY / package).rglob("*.py")))


def test_every_event_and_metric_that_operations_names_is_there() -> None:
    code = _sources(["adapters", "api", "bridge", "broker", "workers"])
    text = _doc("operations.md")
    logs = text.split("\n## Logs", 1)[1].split("\n## ", 1)[0]
    events = [event for row in _rows(logs) for event in re.findall(r"`([a-z_]+\.[a-z_]+)`", row[0])]
    assert len(events) > 15
    assert [event for event in events if f'"{event}"' not in code] == []
    metrics = set(re.findall(r"`(pabal_[a-z_]+)", text))
    assert len(metrics) > 15
    assert [name for name in sorted(metrics) if f'"{name.removesuffix("_total")}"' not in code] == []


# ---- error codes


def _classes() -> dict[str, type[PabalError]]:
    found = {
        name: kind for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, PabalError)
    }
    return {**found, "Parked": Parked}


def _used() -> dict[str, set[tuple[int, int | None]]]:
    """Every stable code in the code, with the HTTP statuses and MQTT reason codes that it comes with."""
    classes = _classes()
    found: dict[str, set[tuple[int, int | None]]] = {}
    for kind in classes.values():
        found.setdefault(kind.code, set()).add((kind.status, kind.reason_code))
    for status, (code, _) in _HTTP.items():
        found.setdefault(code, set()).add((status, None))
    for call in (node for node in ast.walk(ast.parse(_sources_as_one())) if isinstance(node, ast.Call)):
        words = {
            word.arg: word.value.value for word in call.keywords if word.arg and isinstance(word.value, ast.Constant)
        }
        code = words.get("code")
        if not isinstance(code, str):
            continue
        name = call.func.id if isinstance(call.func, ast.Name) else ""
        if name in classes:
            found.setdefault(code, set()).add((classes[name].status, classes[name].reason_code))
        elif isinstance(words.get("status"), int):
            found.setdefault(code, set()).add((words["status"], None))
        else:
            found.setdefault(code, set())
    return found


def _sources_as_one() -> str:
    """The packages as one module: `from __future__` may stand at its head only, so they go."""
    return re.sub(r"^from __future__ .+$", "", _sources(CODE_PACKAGES), flags=re.MULTILINE)


def test_every_error_code_is_documented_with_its_status_and_reason_code() -> None:
    text = _doc("errors.md").split("\n## CONNECT", 1)[0]
    table = {row[0].strip("`"): (row[1], row[2]) for row in _rows(text)}
    used = _used()
    assert set(table) == set(used)
    for code, answers in used.items():
        statuses, reason = table[code]
        assert {status for status, _ in answers} <= {int(status) for status in re.findall(r"\d+", statuses)}, code
        if reason != "–":
            assert {answer for _, answer in answers} - {None} == {int(reason, 16)}, code
