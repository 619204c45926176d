"""`python -m api.keys list|rotate|retire KID`: the keys that sign access tokens. Nothing has to be started anew.

`rotate` is for every few months: nobody is logged out, because the older keys go on verifying until their tokens have expired.
`retire` is for a key that somebody else may have: its tokens are refused within a minute, and apps refresh.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from adapters import signing_keys
from chat.errors import PabalError


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; 0 when it is done, 1 when not, with the reason on standard error."""
    chosen = _parser().parse_args(arguments)
    keys_dir, jwks_file = chosen.keys_dir, chosen.jwks_file
    try:
        if chosen.command == "rotate":
            signing_keys.rotate(keys_dir, jwks_file)
        elif chosen.command == "retire":
            signing_keys.withdraw(keys_dir, jwks_file, chosen.kid)
        rows = [_row(state) for state in signing_keys.states(keys_dir)]
    except (PabalError, OSError) as error:
        sys.stderr.write(f"keys: {error}\n")
        return 1
    if chosen.json:
        sys.stdout.write(json.dumps(rows, indent=2) + "\n")
    else:
        sys.stdout.writelines(f"{row['kid']}  {row['state']}{_until(row['until'])}\n" for row in rows)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m api.keys", description="The keys that sign access tokens.")
    for name in ("keys_dir", "jwks_file"):
        found = os.environ.get(f"PABAL_{name.upper()}")
        parser.add_argument(
            f"--{name.replace('_', '-')}", type=Path, default=found and Path(found), required=found is None
        )
    parser.add_argument("--json", action="store_true", help="for programs")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="what signs, and what still verifies")
    commands.add_parser("rotate", help="make a new key that signs from now on")
    commands.add_parser("retire", help="let a key verify no more, at once").add_argument("kid")
    return parser


def _row(state: signing_keys.KeyState) -> dict[str, str | None]:
    until = None if state.until is None else datetime.fromtimestamp(state.until, UTC).isoformat()
    return {"kid": state.kid, "state": state.state, "until": until}


def _until(at: str | None) -> str:
    return "" if at is None else f", verifies until {at}"


if __name__ == "__main__":
    sys.exit(main())
