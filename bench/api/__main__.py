"""`python -m bench.api`."""

from __future__ import annotations

import sys

from bench.api.run import main

if __name__ == "__main__":
    sys.exit(main())
