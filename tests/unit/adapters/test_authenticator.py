"""Who the broker and the api let in."""

from __future__ import annotations

import hashlib
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from adapters.authenticator import PolicyAuthenticator, ServiceSecrets
from adapters.memory import memory_stores
from adapters.signing_keys import new_key, write_jwks
from adapters.tokens import Jwks, TokenIssuer, TokenVerifier
from chat.errors import Unauthenticated
from chat.models import Device, Grant, Principal, PrincipalKind, User

NOW = datetime.now(UTC)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self, directory: Path) -> None:
        new_key(directory / "keys")
        write_jwks(directory / "keys", directory / "jwks.json")
        self.services_dir = directory / "services"
        self.services_dir.mkdir()
        (self.services_dir / "svc-bridge").write_text("s3cret\n")
        self.clock = Clock()
        self.stores = memory_stores()
        self.issuer = TokenIssuer(directory / "keys")
        self.authenticator = PolicyAuthenticator(
            tokens=TokenVerifier(Jwks(directory / "jwks.json")),
            sign_ins=self.stores.sign_ins,
            users=self.stores.users,
            devices=self.stores.devices,
            services=ServiceSecrets(self.services_dir, monotonic=self.clock),
        )

    async def user(self, handle: str, *, disabled: bool = False, admin: bool = False) -> str:
        """A signed-in user's token."""
        await self.stores.users.add(User(handle, handle, "-", NOW, admin=admin, disabled=disabled))
        await self.stores.grants.add(Grant(f"sid-{handle}", handle, f"hash-{handle}", NOW, NOW + timedelta(days=1)))
        return self.issuer.issue(handle, sid=f"sid-{handle}", admin=admin).value

    async def device(self, id_: str, secret: str, *, disabled: bool = False) -> None:
        hashed = hashlib.sha256(secret.encode()).hexdigest()
        await self.stores.devices.add(Device(id_, "haneul", "온도계", hashed, NOW, disabled=disabled))

    async def refused(self, username: str | None, password: bytes | None) -> None:
        with pytest.raises(Unauthenticated) as caught:
            await self.authenticator.authenticate(username, password)
        assert not password or len(password) < 4 or password.decode("latin-1") not in str(caught.value)


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


async def test_a_user_with_a_token(world: World) -> None:
    token = await world.user("haneul", admin=True)
    found = await world.authenticator.authenticate("haneul", token.encode())
    assert found == Principal("haneul", PrincipalKind.USER, sid="sid-haneul", admin=True)


async def test_a_token_of_somebody_else(world: World) -> None:
    token = await world.user("haneul")
    await world.user("bada")
    await world.refused("bada", token.encode())
    await world.refused("dev-haneul", token.encode())
    await world.refused("svc-bridge", token.encode())


async def test_a_sign_in_that_has_ended(world: World) -> None:
    token = await world.user("haneul")
    await world.stores.grants.revoke("sid-haneul", NOW)
    await world.refused("haneul", token.encode())


async def test_a_disabled_user(world: World) -> None:
    await world.refused("haneul", (await world.user("haneul", disabled=True)).encode())


async def test_a_token_without_user_or_grant(world: World) -> None:
    await world.refused("ghost", world.issuer.issue("ghost", sid="none").value.encode())


async def test_a_device_with_its_secret(world: World) -> None:
    await world.device("dev-1", "hush")
    found = await world.authenticator.authenticate("dev-1", b"hush")
    assert found == Principal("dev-1", PrincipalKind.DEVICE, owner="haneul")
    await world.refused("dev-1", b"hush ")
    await world.refused("dev-1", b"")
    await world.refused("dev-2", b"hush")
    await world.refused("dev-1", hashlib.sha256(b"hush").hexdigest().encode())  # the stored value opens nothing


async def test_a_disabled_device(world: World) -> None:
    await world.device("dev-1", "hush", disabled=True)
    await world.refused("dev-1", b"hush")


async def test_a_service_with_its_secret(world: World) -> None:
    found = await world.authenticator.authenticate("svc-bridge", b"s3cret")
    assert found == Principal("svc-bridge", PrincipalKind.SERVICE)
    await world.refused("svc-bridge", b"s3cret2")
    await world.refused("svc-bridge", b"")
    await world.refused("svc-other", b"s3cret")


async def test_an_empty_secret_file_opens_nothing(world: World) -> None:
    (world.services_dir / "svc-empty").write_text("\n")
    await world.refused("svc-empty", b"")


async def test_service_files_are_re_read_at_most_once_a_second(world: World) -> None:
    await world.refused("svc-api", b"new")
    (world.services_dir / "svc-api").write_text("new")
    await world.refused("svc-api", b"new")
    world.clock.now = 1.0
    assert (await world.authenticator.authenticate("svc-api", b"new")).id == "svc-api"


async def test_a_secret_that_was_changed_stops_working_with_the_next_reading(world: World) -> None:
    await world.authenticator.authenticate("svc-bridge", b"s3cret")
    (world.services_dir / "svc-bridge").write_text("changed")
    world.clock.now = 1.0
    assert (await world.authenticator.authenticate("svc-bridge", b"changed")).id == "svc-bridge"
    await world.refused("svc-bridge", b"s3cret")


async def test_no_services_directory(tmp_path: Path, world: World) -> None:
    assert not ServiceSecrets(None).proves("svc-bridge", b"s3cret")
    assert not ServiceSecrets(tmp_path / "none").proves("svc-bridge", b"s3cret")
    assert ServiceSecrets(world.services_dir).proves("svc-bridge", b"s3cret")


@pytest.mark.parametrize(
    ("username", "password"),
    [
        (None, None),
        (None, b"x"),
        ("haneul", None),
        ("", b"x"),
        ("haneul", b""),
        ("haneul", b"\xff\xfe"),
        ("haneul", "안녕".encode()),
        ("haneul", b"x" * 5000),
        ("Haneul", b"x"),
        ("svc-../svc-bridge", b"s3cret"),
        ("svc-bridge/", b"s3cret"),
        ("svc-bridge\0", b"s3cret"),
        ("dev-1\n", b"hush"),
        ("h" * 100, b"x"),
        ("하늘", b"x"),
        ("#", b"x"),
    ],
)
async def test_what_proves_nothing(world: World, username: str | None, password: bytes | None) -> None:
    await world.device("dev-1", "hush")
    await world.refused(username, password)


# ---- client certificates that TLS has verified


async def test_a_certificate_of_a_device_or_service_needs_no_password(world: World) -> None:
    await world.device("dev-1", "hush")
    for password in (None, b"wrong"):
        found = await world.authenticator.certified("dev-1", password)
        assert found == Principal("dev-1", PrincipalKind.DEVICE, owner="haneul")
        assert await world.authenticator.certified("svc-bridge", password) == Principal(
            "svc-bridge", PrincipalKind.SERVICE
        )


async def test_a_certificate_of_a_user_needs_their_token(world: World) -> None:
    token = await world.user("haneul")
    await world.user("minsu")
    found = await world.authenticator.certified("haneul", token.encode())
    assert (found.id, found.sid) == ("haneul", "sid-haneul")
    for name, password in (("haneul", None), ("haneul", b"x"), ("minsu", token.encode())):
        with pytest.raises(Unauthenticated):
            await world.authenticator.certified(name, password)


@pytest.mark.parametrize("name", ["dev-off", "dev-unknown", "svc-unknown", "svc-empty", "", "CN=x", "../svc-bridge"])
async def test_a_certificate_that_names_nobody_who_may_come_in(world: World, name: str) -> None:
    await world.device("dev-off", "hush", disabled=True)
    (world.services_dir / "svc-empty").write_text("\n")
    with pytest.raises(Unauthenticated):
        await world.authenticator.certified(name, b"hush")


async def test_who_is_still_let_in(world: World) -> None:
    await world.user("haneul")
    await world.user("bada", disabled=True)
    await world.device("dev-a", "s")
    await world.device("dev-b", "s", disabled=True)
    asked = {"haneul", "bada", "nobody", "dev-a", "dev-b", "dev-none", "svc-bridge", "svc-none"}
    assert await world.authenticator.welcome(asked) == {"haneul", "dev-a", "svc-bridge"}
    assert await world.authenticator.welcome(set()) == set()
