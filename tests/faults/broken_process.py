"""`python broken_process.py broker|bridge`: that process, broken as the file that BROKEN names says; whole when it says nothing."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path

from broken_builds import BUILDS, SCATTER, Build, scatter  # type: ignore[import-not-found]  # beside this script

if __name__ == "__main__":
    process = sys.argv.pop(1)
    name = Path(os.environ["BROKEN"]).read_text().strip()
    build = Build("broker", scatter, "") if name == SCATTER else BUILDS.get(name)
    if build is not None and build.process == process:
        build.breaks()
    sys.exit(importlib.import_module(f"{process}.__main__").main())
