"""`python -m stack.mongo_init HOST:PORT …`: make mongods that ask for passwords one replica set, with the user that our processes sign in as.

For containers, where nobody else does it. Running it again changes nothing but the user's password, if the URL has another one.

| variable | what |
|---|---|
| `PABAL_MONGO_URL` | what our processes connect with: its user name and password are those of the user to make |
| `PABAL_MONGO_DATABASE` | the one database that this user may read and write [pabal] |
| `PABAL_MONGO_KEY_FILE` | the key file of the mongods: whoever has it is a member of the set, which may do everything |
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError
from pymongo.uri_parser import parse_uri

from stack import replica_set
from stack.ports import Address
from stack.replica_set import Login, SetIsLarger

SECONDS = 120.0
"""How long the set may take: the mongods of a machine that has just started make their files meanwhile."""

_USER_EXISTS = 51003
"""Server error code of createUser."""


class MongoInitSettings(BaseSettings):
    """What it is told."""

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore", hide_input_in_errors=True)

    mongo_url: str
    mongo_database: str = "pabal"
    mongo_key_file: Path


class BadUrl(Exception):
    """PABAL_MONGO_URL names no user with a password."""


def user_of(url: str) -> tuple[str, str]:
    """Name and password in a URL.

    Raises:
        BadUrl: it is none, or has none; the text does not repeat it.
    """
    try:
        found = parse_uri(url)
    except (PyMongoError, ValueError) as error:
        raise BadUrl(f"PABAL_MONGO_URL can't be read: {type(error).__name__}") from None
    if not found["username"] or not found["password"]:
        raise BadUrl("PABAL_MONGO_URL needs a user name and a password")
    return found["username"], found["password"]


def member(key_file: Path) -> Login:
    """How a member of the set signs in: as the internal user, with what is in the key file (white space does not count).

    Raises:
        OSError, ValueError: the file can't be read.
    """
    return Login("__system", "".join(key_file.read_text("ascii").split()), "local")


def ensure_user(url: str, login: Login, name: str, password: str, database: str) -> bool:
    """The user with these rights and this password, on a majority; whether it was made (and not only set right).

    Raises:
        PyMongoError: the set does not do it.
    """
    wanted: dict[str, Any] = {"pwd": password, "roles": [{"role": "dbOwner", "db": database}]}
    with MongoClient[dict[str, Any]](
        url, username=login.name, password=login.password, authSource=login.source, w="majority"
    ) as client:
        try:
            client.admin.command("createUser", name, **wanted)
        except OperationFailure as error:
            if error.code != _USER_EXISTS:
                raise
            client.admin.command("updateUser", name, **wanted)
            return False
    return True


def main(arguments: Sequence[str] | None = None) -> int:
    """Do it; 0 when the set works and the user is there, 1 when not, with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m stack.mongo_init", description="Make mongods one replica set.")
    parser.add_argument("nodes", nargs="+", type=Address.parse, metavar="HOST:PORT", help="a member of the set")
    nodes = parser.parse_args(arguments).nodes
    try:
        settings = MongoInitSettings()
        name, password = user_of(settings.mongo_url)
        login = member(settings.mongo_key_file)
        replica_set.ensure(nodes, seconds=SECONDS, login=login)
        made = ensure_user(replica_set.url(nodes), login, name, password, settings.mongo_database)
    except ValidationError as error:
        wrong = ", ".join(f"PABAL_{item['loc'][0]}".upper() for item in error.errors(include_input=False))
        return _failed(f"needs {wrong}")
    except (BadUrl, OSError, ValueError, TimeoutError, SetIsLarger) as error:
        return _failed(str(error))
    except PyMongoError as error:
        return _failed(f"mongod refuses: {error}")
    sys.stdout.write(f"the set of {len(nodes)} works; the user {name} {'was made' if made else 'is there'}\n")
    return 0


def _failed(why: str) -> int:
    sys.stderr.write(f"mongo-init: {why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
