"""`python -m api.push_keys list|rotate|withdraw KID`: the keys that pushes to browsers are signed with. Nothing has to be started anew.

`rotate` is for every year or so: browsers that subscribe from then on have the new key, the others are reached with the one that they have.
`withdraw` is for a key that somebody else may have: pushes to its browsers end, until their pages subscribe anew.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from adapters import vapid
from chat.errors import PabalError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 1 when not, with the reason on standard error."""
    chosen = _parser().parse_args(arguments)
    try:
        if chosen.command == "rotate":
            vapid.new_key(chosen.vapid_dir)
        elif chosen.command == "withdraw":
            vapid.withdraw(chosen.vapid_dir, chosen.kid)
        keys = vapid.load_keys(chosen.vapid_dir)
    except (PabalError, OSError) as error:
        sys.stderr.write(f"push keys: {error}\n")
        return 1
    for place, key in enumerate(keys):
        sys.stdout.write(f"{key.kid}  {'older' if place else 'newest'}  {key.public}\n")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.push_keys", description="The keys of pushes to browsers.")
    found = os.environ.get("PABAL_VAPID_DIR")
    parser.add_argument("--vapid-dir", type=Path, default=found and Path(found), required=found is None)
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="the newest first, with its public half")
    commands.add_parser("rotate", help="make a new key, for browsers that subscribe from now on")
    commands.add_parser("withdraw", help="delete a key and with it its subscriptions").add_argument("kid")
    return parser


if __name__ == "__main__":
    sys.exit(main())
