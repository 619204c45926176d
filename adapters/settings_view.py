"""The settings that a process goes by, as an administrator may see them: without anything that opens a door."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from pydantic import BaseModel

HIDDEN = "***"

_SECRET = re.compile(r"secret|password|passwd|token|credential|private|api_?key|_key$|salt", re.IGNORECASE)
_USERINFO = re.compile(r"(?<=://)[^/@\s]*@")
_SECRET_PARAMETER = re.compile(r"([?&;](?:[\w.-]*(?:secret|password|token|key)[\w.-]*)=)[^&;\s]*", re.IGNORECASE)


def visible(settings: BaseModel) -> dict[str, str]:
    """Every setting by the name of its environment variable.

    Paths of secret files are shown, what is in them is not; a value whose name speaks of a secret is hidden, and so are user names and
    passwords in addresses.
    """
    prefix = str(settings.model_config.get("env_prefix", ""))
    values = ((name, getattr(settings, name)) for name in type(settings).model_fields)
    return {f"{prefix}{name}".upper(): _shown(name, value) for name, value in sorted(values)}


def _shown(name: str, value: Any) -> str:
    if value is None or isinstance(value, bool | int | float | Path):
        return "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
    if _SECRET.search(name):
        return HIDDEN
    return _SECRET_PARAMETER.sub(rf"\g<1>{HIDDEN}", _USERINFO.sub(f"{HIDDEN}@", str(value)))
