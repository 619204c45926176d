"""`pabal` with a broken bridge in place of the real one."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from stack import cli, processes

_plan = processes.plan


def plan(*arguments: Any, **named: Any) -> processes.Plan:
    made = _plan(*arguments, **named)
    broken = (sys.executable, str(Path(__file__).with_name("broken_bridge.py")))
    specs = tuple(replace(spec, argv=broken) if spec.name == "bridge" else spec for spec in made.specs)
    return replace(made, specs=specs)


processes.plan = plan

if __name__ == "__main__":
    sys.exit(cli.main())
