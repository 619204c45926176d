"""`python -m workers`: take jobs until SIGTERM; what is under way is finished first."""

from __future__ import annotations

import os
import shutil
import sys

from pydantic import ValidationError

from workers.settings import WorkerSettings


def main() -> int:
    """Run the worker; 2 when the settings are of no use."""
    try:
        settings = WorkerSettings()
    except ValidationError as error:
        print(f"worker: {error}", file=sys.stderr)  # noqa: T201 - before there is a log
        return 2
    metrics_dir = settings.worker_state_dir.absolute() / "metrics"
    shutil.rmtree(metrics_dir, ignore_errors=True)  # the counters of processes that are gone
    metrics_dir.mkdir(parents=True)
    # prometheus_client looks at it when it is imported, which `workers.app` does.
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(metrics_dir)
    from workers.app import run  # noqa: PLC0415 - see above

    try:
        return run(settings, metrics_dir)
    except (OSError, ValueError) as error:
        print(f"worker: {error}", file=sys.stderr)  # noqa: T201 - the reason, without a traceback
        return 2


if __name__ == "__main__":
    sys.exit(main())
