"""`python -m bench`: measure the broker beside Mosquitto, and the whole path, in short. Figures are of this machine in this run."""

from __future__ import annotations

import argparse
import sys

from bench import broker
from bench.accounts import PAIRS
from bench.path import run as path


def main() -> int:
    """Run what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "broker", "path"), default="all", help="default: all")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of the comparison (default 3)")
    parser.add_argument(
        "--messages", type=int, default=5_000, metavar="N", help="messages per publisher (default 5000)"
    )
    parser.add_argument(
        "--seconds", type=float, default=6.0, metavar="S", help="of each part of the whole path (default 6)"
    )
    options = parser.parse_args()
    if options.what in ("all", "broker"):
        print(broker.short(rounds=options.rounds, messages=options.messages * PAIRS), end="\n\n", flush=True)
    if options.what in ("all", "path"):
        print(path.short(seconds=options.seconds), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
