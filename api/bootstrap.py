"""`python -m api.bootstrap`: what must be there before the processes start. Running it again changes nothing that is there.

Makes: the schema in MongoDB, a signing key and the JWKS file, the secrets of our services, an authority for certificates of devices, a key of pushes to browsers,
the users of a credentials file.
Reads PABAL_MONGO_URL, PABAL_MONGO_DATABASE, PABAL_KEYS_DIR, PABAL_JWKS_FILE, PABAL_SERVICES_DIR, PABAL_CA_DIR, PABAL_VAPID_DIR.

The credentials file is JSON:
`{"admin": {"handle": …, "password": …}, "users": [{"handle": …, "password": …, "display_name": …}]}`.
A user who exists already keeps their password.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Sequence
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict

from adapters.authority import ensure_authority
from adapters.mongo import open_stores
from adapters.sealing import ensure_seal
from adapters.secret_files import new_secret, write_file
from adapters.signing_keys import load_keys, new_key, write_jwks
from adapters.vapid import load_keys as load_vapid
from adapters.vapid import new_key as new_vapid
from api.auth.password_rules import MAX_LENGTH, MIN_LENGTH
from api.auth.passwords import Passwords
from api.clock import now
from api.settings import explain
from chat.errors import PabalError
from chat.ids import check_handle
from chat.models import User
from chat.ports import UserStore

SERVICES = ("svc-bridge", "svc-api", "svc-worker")
"""The processes that sign in to the broker with a secret."""


class BootstrapSettings(BaseSettings):
    """Where to put things. The argon2 settings are those of the api."""

    model_config = SettingsConfigDict(env_prefix="PABAL_", extra="ignore")

    mongo_url: str
    mongo_database: str = "pabal"
    keys_dir: Path
    jwks_file: Path
    services_dir: Path
    ca_dir: Path | None = None
    vapid_dir: Path | None = None
    argon2_memory_kib: int = Field(default=19 * 1024, ge=8)
    argon2_passes: int = Field(default=2, ge=1)


class Credential(BaseModel):
    """One user of the credentials file."""

    model_config = ConfigDict(extra="ignore")

    handle: str
    password: str = Field(min_length=MIN_LENGTH, max_length=MAX_LENGTH, repr=False)
    display_name: str | None = None


class Credentials(BaseModel):
    """The credentials file."""

    model_config = ConfigDict(extra="ignore")

    admin: Credential | None = None
    users: list[Credential] = []


def ensure_keys(keys_dir: Path, jwks_file: Path) -> list[str]:
    """A signing key, if there is none, and the JWKS file of all of them.

    Returns:
        what was done, line by line.
    """
    done = [] if load_keys(keys_dir) else [f"made the signing key {new_key(keys_dir)} in {keys_dir}"]
    kids = write_jwks(keys_dir, jwks_file)
    return [*done, f"published {len(kids)} public key(s) in {jwks_file}"]


def ensure_service_secrets(services_dir: Path) -> list[str]:
    """A secret per service, for those that have none.

    Returns:
        what was done, line by line.
    """
    missing = [name for name in SERVICES if not (services_dir / name).exists()]
    for name in missing:
        write_file(services_dir / name, new_secret().encode())
    return [f"made the secret of {name} in {services_dir}" for name in missing]


async def ensure_users(users: UserStore, wanted: Credentials, passwords: Passwords) -> list[str]:
    """The users of the credentials file, for those handles that are free.

    Returns:
        what was done, line by line.

    Raises:
        InvalidId: a handle has the wrong shape.
    """
    rows = [(one, False) for one in wanted.users]
    if wanted.admin is not None:
        rows.insert(0, (wanted.admin, True))
    done = []
    for one, admin in rows:
        handle, what = check_handle(one.handle), "admin" if admin else "user"
        added = await users.get(handle) is None and await users.add(
            User(
                id=handle,
                display_name=one.display_name or handle,
                password_hash=await passwords.hash(one.password),
                created_at=now(),
                admin=admin,
            )
        )
        done.append(f"made the {what} {handle}" if added else f"the {what} {handle} is there already")
    return done


async def bootstrap(settings: BootstrapSettings, wanted: Credentials) -> list[str]:
    """All of it.

    Returns:
        what was done, line by line; no secrets.

    Raises:
        PabalError: MongoDB does not answer, or something that is there can't be used.
    """
    done = ensure_keys(settings.keys_dir, settings.jwks_file)
    done += ensure_service_secrets(settings.services_dir)
    if ensure_seal(settings.keys_dir):
        done.append(f"made the key that seals second factors in {settings.keys_dir}")
    if settings.ca_dir is not None and ensure_authority(settings.ca_dir):
        done.append(f"made an authority for certificates of devices in {settings.ca_dir}")
    if settings.vapid_dir is not None and not load_vapid(settings.vapid_dir):
        done.append(f"made the key {new_vapid(settings.vapid_dir)} of pushes to browsers in {settings.vapid_dir}")
    stores = await open_stores(settings.mongo_url, settings.mongo_database)
    passwords = Passwords(memory_kib=settings.argon2_memory_kib, passes=settings.argon2_passes, threads=1)
    try:
        done.append(f"the schema of database {settings.mongo_database} is up to date")
        done += await ensure_users(stores.users, wanted, passwords)
    finally:
        passwords.close()
        await stores.close()
    return done


def main(arguments: Sequence[str] | None = None) -> int:
    """Run it; 0 when everything is there, 1 when not, with the reason on standard error."""
    parser = argparse.ArgumentParser(prog="python -m api.bootstrap", description="Make what a first start needs.")
    parser.add_argument("--credentials", type=Path, help="JSON file with the admin and the users to make")
    chosen = parser.parse_args(arguments)
    try:
        text = chosen.credentials.read_bytes() if chosen.credentials is not None else b"{}"
        done = asyncio.run(bootstrap(BootstrapSettings(), Credentials.model_validate_json(text)))
    except ValidationError as error:
        return _failed(explain(error))
    except (PabalError, OSError) as error:
        return _failed(str(error))
    sys.stdout.writelines(f"{line}\n" for line in done)
    return 0


def _failed(why: str) -> int:
    sys.stderr.write(f"bootstrap: {why}\n")
    return 1


if __name__ == "__main__":
    sys.exit(main())
