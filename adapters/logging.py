"""Logs: events with fields (`message.stored`, chat=…, seq=…), on standard error, as console lines or one JSON object each.

What the libraries log through the standard library takes the same way out. Values under names that hold secrets or people's
words are masked before anything is rendered, and tracebacks never show local variables.
"""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Mapping
from typing import Any, Literal

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from adapters.tracing import name_trace

MASKED = "***"
HIDDEN = frozenset({"password", "token", "secret", "authorization", "payload", "body", "text"})
"""Names whose values never reach a log; `access_token` and `X-Authorization` count by their last word."""

_MAX_DEPTH = 5
_WORDS = re.compile(r"[^a-z0-9]+")

# They log every request or connection at INFO: our own events say what matters.
_QUIET_LIBRARIES = ("httpx", "httpcore", "urllib3", "pymongo", "amqp", "kombu", "asyncio", "google", "websockets")


def mask(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
    """A structlog processor: replace the values of hidden names, nested ones too."""
    return {name: _masked(name, value, _MAX_DEPTH) for name, value in event.items()}


def _masked(name: str, value: Any, depth: int) -> Any:
    if _hidden(name):
        return MASKED
    if depth == 0:
        return value if isinstance(value, str | int | float | bool | None) else MASKED
    if isinstance(value, Mapping):
        return {key: _masked(str(key), inner, depth - 1) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_masked("", inner, depth - 1) for inner in value]
    return value


def _hidden(name: str) -> bool:
    return bool(name) and _WORDS.split(name.lower())[-1] in HIDDEN


def configure(level: str, fmt: Literal["console", "json"], process: str) -> None:
    """Set up logging of this process; calling it again replaces the earlier set-up.

    Args:
        level: `debug`, `info`, `warning` or `error`.
        fmt: `console` for people, `json` for machines (one object per line: `event`, `level`, `timestamp`, `process`, fields).
        process: the name of this process, a field of every event.

    Raises:
        ValueError: `level` is none of the above.
    """
    threshold = logging.getLevelNamesMapping().get(level.upper())
    if threshold is None:
        raise ValueError(f"the log level is debug, info, warning or error, not {level!r}")

    def name_process(_logger: WrappedLogger, _method: str, event: EventDict) -> EventDict:
        event.setdefault("process", process)
        return event

    shared: list[Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        name_process,
        name_trace,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.StackInfoRenderer(),
    ]
    _hand_over_to_root(_handler(shared, fmt), threshold)
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _handler(shared: list[Processor], fmt: Literal["console", "json"]) -> logging.Handler:
    rendering: list[Processor]
    if fmt == "json":
        rendering = [structlog.processors.format_exc_info, structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        # structlog's default for a console is rich's traceback with local variables: they would hold tokens and texts.
        plain = structlog.dev.plain_traceback
        rendering = [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    remove = structlog.stdlib.ProcessorFormatter.remove_processors_meta
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(foreign_pre_chain=shared, processors=[remove, mask, *rendering])
    )
    return handler


def _hand_over_to_root(handler: logging.Handler, threshold: int) -> None:
    root = logging.getLogger()
    for old in list(root.handlers):
        root.removeHandler(old)
    root.addHandler(handler)
    root.setLevel(threshold)
    for name in _QUIET_LIBRARIES:
        logging.getLogger(name).setLevel(max(threshold, logging.WARNING))
