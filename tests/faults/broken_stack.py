"""`pabal` with `broken_process.py` in place of the real broker and bridge."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

from stack import cli, keeper, processes

_plan = processes.plan


def plan(*arguments: Any, **named: Any) -> processes.Plan:
    made = _plan(*arguments, **named)
    broken = (sys.executable, str(Path(__file__).with_name("broken_process.py")))
    specs = tuple(
        replace(spec, argv=(*broken, spec.name)) if spec.name in ("broker", "bridge") else spec for spec in made.specs
    )
    return replace(made, specs=specs)


processes.plan = plan
keeper.Backoff.after = lambda *_: 0.2  # type: ignore[method-assign]  # each build is another life, not a crash loop

if __name__ == "__main__":
    sys.exit(cli.main())
