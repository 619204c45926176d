"""`make fuzz`: atheris on the codec or the broker, from its corpus on. What it finds it writes to `tests/fuzz/found/`.

    .venv/bin/python tests/fuzz/run.py codec -max_total_time=60

Options behind the target are libFuzzer's. Needs `requirements/fuzz.txt`.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path
from types import ModuleType

import atheris
import structlog

HERE = Path(__file__).parent
# Some distributions install a package named `tests`, which would win over ours, that is no regular package.
tests = sys.modules["tests"] = ModuleType("tests")
tests.__path__ = [str(HERE.parent)]

with atheris.instrument_imports(include=["mqtt", "broker"]):
    from tests.fuzz import targets

TARGETS = {"codec": targets.codec, "broker": lambda data: targets.converse(targets.script_of(data))}


def main() -> None:
    """Fuzz one target until its time is over or something is found."""
    name, *options = sys.argv[1:]
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))
    found, new = HERE / "found", HERE / "found" / f"corpus-{name}"
    new.mkdir(parents=True, exist_ok=True)
    # libFuzzer writes new inputs to the first directory; the others are only read.
    atheris.Setup(
        [sys.argv[0], f"-artifact_prefix={found}/", *options, str(new), str(HERE / "corpus" / name)], TARGETS[name]
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()
