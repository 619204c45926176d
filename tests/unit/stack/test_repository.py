"""Facts about the repository itself: what is imported from where, and what is locked."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from stack.processes import REPOSITORY

ROOT_PACKAGES = ["adapters", "api", "bench", "bridge", "broker", "chat", "clients", "mqtt", "stack", "workers"]


def test_the_list_of_root_packages_is_the_one_of_the_build() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    assert sorted(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"]) == ROOT_PACKAGES


@pytest.mark.parametrize("package", ROOT_PACKAGES)
def test_a_root_package_is_the_one_of_the_repository(package: str, tmp_path: Path) -> None:
    """Their names are generic: another distribution with such a package must not win, wherever Python is started."""
    argv = [sys.executable, "-c", f"import {package}; print({package}.__file__)"]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    found = subprocess.run(argv, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stderr
    assert Path(found.stdout.strip()) == REPOSITORY / package / "__init__.py"


@pytest.mark.parametrize("name", ["stack.txt", "image.txt", "dev.txt"])
def test_locked_requirements_name_no_address_and_have_hashes(name: str) -> None:
    text = (REPOSITORY / "requirements" / name).read_text()
    assert "://" not in text
    assert "--index" not in text
    assert "--extra-index" not in text
    entries = re.split(r"\n(?=[A-Za-z0-9])", re.sub(r"^#.*\n", "", text, flags=re.MULTILINE).strip())
    assert len(entries) > 50
    for entry in entries:
        assert re.match(r"[A-Za-z0-9._-]+(\[[a-z,_-]+\])?==\S+", entry), f"not pinned: {entry.splitlines()[0]}"
        assert "--hash=sha256:" in entry, f"no hash: {entry.splitlines()[0]}"


def test_development_and_stack_are_locked_to_the_same_versions() -> None:
    pins = {
        name: dict(
            re.findall(r"^([A-Za-z0-9._-]+)==(\S+)", (REPOSITORY / "requirements" / name).read_text(), re.MULTILINE)
        )
        for name in ("stack.txt", "dev.txt")
    }
    assert pins["stack.txt"].items() <= pins["dev.txt"].items()
