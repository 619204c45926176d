"""`python -m bench.push`."""

from __future__ import annotations

import sys

from bench.push.run import main

if __name__ == "__main__":
    sys.exit(main())
