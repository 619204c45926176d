"""The guard: when the supervisor is gone, kills every process group that it left.

    python -I -S stack/guard.py < PIPE

PR_SET_PDEATHSIG (`stack.child`) ends the children themselves; it is not handed down, so what *they* forked (a Celery
worker's beat, say) would live on. Each child leads a process group of its own. The supervisor writes `+PGID` when one starts
and `-PGID` when it has gone; the pipe's end without a word means that the supervisor was killed, and what is still on the
list dies.
"""

import os
import signal
import sys


def main() -> int:
    """Follow the list until the pipe ends."""
    # Ctrl-C and a polite `kill` of everything are the supervisor's business; the guard ends when its pipe does.
    for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(signum, signal.SIG_IGN)
    groups: set[int] = set()
    for line in sys.stdin:
        change, group = line[0], int(line[1:])
        if change == "+":
            groups.add(group)
        else:
            groups.discard(group)
    for group in groups:
        try:
            os.killpg(group, signal.SIGKILL)
        except ProcessLookupError:
            continue
    return 0


if __name__ == "__main__":
    sys.exit(main())
