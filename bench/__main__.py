"""`python -m bench`: measure the broker beside Mosquitto, and the whole path. Figures are of this machine in this run."""

from __future__ import annotations

import argparse
import os
import platform
import sys

import uvloop

from bench import broker, path
from bench.accounts import PAIRS


def main() -> int:
    """Run what was asked for and print Markdown."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("what", nargs="?", choices=("all", "broker", "path"), default="all", help="default: all")
    parser.add_argument("--rounds", type=int, default=3, metavar="N", help="rounds of the comparison (default 3)")
    parser.add_argument(
        "--messages", type=int, default=5_000, metavar="N", help="messages per publisher (default 5000)"
    )
    parser.add_argument(
        "--rate", type=int, default=2_000, metavar="N", help="messages/s of the latency run (default 2000)"
    )
    parser.add_argument("--seconds", type=float, default=10.0, metavar="S", help="length of it (default 10)")
    options = parser.parse_args()
    if options.what in ("all", "broker"):
        print(broker.short(rounds=options.rounds, messages=options.messages * PAIRS), end="\n\n", flush=True)
    if options.what in ("all", "path"):
        uvloop.run(_measure(options))
    return 0


async def _measure(options: argparse.Namespace) -> None:
    print(f"{os.cpu_count()} CPUs, Python {platform.python_version()}, {platform.system()}; load generator included\n")
    text = await path.report(count=options.messages, windows=(1, 20, 50), rate=options.rate, seconds=options.seconds)
    print(text, flush=True)


if __name__ == "__main__":
    sys.exit(main())
