"""`python -m bench.path`."""

from __future__ import annotations

import sys

from bench.path.run import main

if __name__ == "__main__":
    sys.exit(main())
