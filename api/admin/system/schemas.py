"""What the routes about processes answer."""

from __future__ import annotations

import msgspec


class ProcessHealth(msgspec.Struct):
    """One process: whether it answers, and whether each of its parts is well."""

    name: str
    well: bool
    answers: bool
    parts: dict[str, bool]


class SystemHealth(msgspec.Struct):
    """Every process that this one was told of. `well`: all of them are."""

    well: bool
    processes: list[ProcessHealth]


class ProcessSettings(msgspec.Struct):
    """One process: the settings that it goes by, as environment variables, without secrets. `answers`: whether it could be asked."""

    name: str
    answers: bool
    settings: dict[str, str]


class SystemSettings(msgspec.Struct):
    """Every process that this one was told of."""

    processes: list[ProcessSettings]


HEALTH_EXAMPLE = {
    "well": False,
    "processes": [
        {"name": "api", "well": True, "answers": True, "parts": {"mongo": True, "valkey": True, "link": True}},
        {"name": "bridge", "well": False, "answers": False, "parts": {}},
    ],
}
SETTINGS_EXAMPLE = {
    "processes": [
        {
            "name": "api",
            "answers": True,
            "settings": {"PABAL_API_BIND": "127.0.0.1:8080", "PABAL_MONGO_URL": "mongodb://***@db/?replicaSet=rs0"},
        }
    ]
}
