"""How an unforeseen error is logged: what it was and where, never its text, which may quote somebody's message."""

from __future__ import annotations

import traceback


def trouble(error: BaseException) -> dict[str, str]:
    """Fields for the log: the error's type, and the places it came through, innermost last."""
    frames = traceback.extract_tb(error.__traceback__)
    return {
        "error": f"{type(error).__module__}.{type(error).__qualname__}",
        "where": " > ".join(f"{frame.filename.rpartition('/')[2]}:{frame.lineno} {frame.name}" for frame in frames),
    }
