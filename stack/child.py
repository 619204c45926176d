"""The launcher of every child: makes it die with whoever started it, then becomes it.

    python -I -S stack/child.py --parent PID --signal KILL -- argv…

PR_SET_PDEATHSIG asks Linux to send this process a signal when its parent dies, kill -9 included; the request survives
`execve`, so mongod, Valkey and the rest get it without knowing. Two traps: the signal comes when the *thread* that forked
ends (so start children from the main thread only), and a parent that died before the request is never reported (so the
parent's pid is checked afterwards). Elsewhere than on Linux there is no such request; there `stack.guard` alone does it.

Run by its path under `-I -S`: it needs nothing but the standard library, and starts in 20 ms.
"""

import ctypes
import os
import resource
import signal
import sys

PR_SET_PDEATHSIG = 1

MOST_FILES = 1_048_576

NOT_FOUND = 127
"""Exit code when the program can't be executed, as in a shell."""


def die_with_parent(parent: int, signum: int) -> None:
    """Ask for `signum` on the death of `parent`; exit at once when it is already dead."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(PR_SET_PDEATHSIG, signum, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent:
        os._exit(0)


def raise_file_limit() -> None:
    """Every connection is a file: take as many as the system allows without asking root.

    `MOST_FILES` bounds it, since some programs walk through all possible descriptors when they start.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft == resource.RLIM_INFINITY or soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    except (ValueError, OSError):  # macOS refuses more than kern.maxfilesperproc: the old limit stands
        return


def main(args: list[str]) -> int:
    """Parse, arm, become the program; returns only when that fails."""
    split = args.index("--")
    options = dict(zip(args[0:split:2], args[1:split:2], strict=True))
    argv = args[split + 1 :]
    die_with_parent(int(options["--parent"]), signal.Signals[f"SIG{options.get('--signal', 'KILL')}"])
    raise_file_limit()
    try:
        os.execvp(argv[0], argv)  # noqa: S606 -- becoming the program is the point: one process, one pid
    except OSError as error:
        sys.stderr.write(f"{argv[0]}: {error.strerror}\n")
    return NOT_FOUND


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
