"""Who is behind a username and password (the broker's CONNECT), or behind a bearer token (the api).

| username | password |
|---|---|
| `svc-…` | the service's secret, from the file of that name in the services directory |
| `dev-…` | the device's secret, of which the store has the SHA-256 |
| any other | an access token of that user (`adapters.tokens`) whose sign-in is alive |

A client certificate that TLS has verified stands for the password of a service or device.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time
from collections.abc import Callable, Collection
from pathlib import Path

from adapters.gathered import Gathered
from adapters.tokens import Claims, TokenVerifier, credential_id
from chat.errors import Unauthenticated
from chat.ids import is_device, is_principal, is_service
from chat.models import Principal, PrincipalKind
from chat.ports import DeviceStore, ServiceAccountStore, UserStore
from chat.sign_ins import SignInStore

MAX_PASSWORD_BYTES = 4096
"""Longer than any token or secret of ours; more is refused before any work is done on it."""

SERVICES_INTERVAL = 1.0
"""Seconds between two readings of the services directory that wrong secrets may cause."""

_WRONG = "the username and password prove nothing"


class ServiceSecrets:
    """The secrets of our own processes, one file each, named by its principal.

    Args:
        directory: where they are; None when this process knows none.
        monotonic: seconds of a clock that never jumps.
    """

    def __init__(self, directory: Path | None, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._directory = directory
        self._monotonic = monotonic
        self._secrets: dict[str, bytes] = {}
        self._read_at: float | None = None

    def proves(self, service: str, secret: bytes) -> bool:
        """Whether `secret` is the service's. On a wrong one the files are read anew, at most once a second."""
        return self._matches(service, secret) or (self._refresh() and self._matches(service, secret))

    def knows(self, service: str) -> bool:
        """Whether the service is one of ours."""
        return bool(self._secrets.get(service)) or (self._refresh() and bool(self._secrets.get(service)))

    def _matches(self, service: str, secret: bytes) -> bool:
        known = self._secrets.get(service, b"")
        return hmac.compare_digest(known, secret) and known != b""

    def _refresh(self) -> bool:
        now = self._monotonic()
        if self._directory is None or (self._read_at is not None and now - self._read_at < SERVICES_INTERVAL):
            return False
        self._read_at = now
        try:
            files = [file for file in self._directory.iterdir() if is_principal(file.name) and is_service(file.name)]
            self._secrets = {file.name: file.read_bytes().strip() for file in files}
        except OSError:
            return False  # the directory is gone or not ours to read: what was known stays known
        return True


class PolicyAuthenticator:
    """`chat.ports.Authenticator` on tokens, device secrets and service secrets.

    Args:
        services: the secrets of our own processes.
        accounts: programs that administrators have let in; None where none of them comes.
    """

    def __init__(
        self,
        *,
        tokens: TokenVerifier,
        sign_ins: SignInStore,
        users: UserStore,
        devices: DeviceStore,
        services: ServiceSecrets,
        accounts: ServiceAccountStore | None = None,
    ) -> None:
        self._tokens = tokens
        self._signed_in = Gathered(sign_ins.holding)
        self._users = users
        self._devices = devices
        self._services = services
        self._accounts = accounts

    async def authenticate(self, username: str | None, password: bytes | None) -> Principal:
        """The principal that the credentials of a CONNECT prove.

        Raises:
            Unauthenticated: they prove nothing.
            Unavailable: a store does not answer.
        """
        if username is None or password is None or not is_principal(username) or len(password) > MAX_PASSWORD_BYTES:
            raise Unauthenticated(_WRONG)
        if is_service(username):
            return self._service(username, password)
        if is_device(username):
            return await self._device(username, password)
        principal = await self.bearer(_text(password))
        if principal.id != username or principal.kind is not PrincipalKind.USER:
            raise Unauthenticated("the access token belongs to somebody else", code="invalid_token")
        return principal

    async def certified(self, name: str, password: bytes | None) -> Principal:
        """The principal that a verified client certificate names.

        A device or service needs no more than that: it must be known, and not disabled. A user needs an access token too:
        rights of a user hang on a sign-in, which can be ended.

        Raises:
            Unauthenticated: it names nobody who may come in.
            Unavailable: a store does not answer.
        """
        if not is_principal(name):
            raise Unauthenticated("the client certificate names nobody here")
        if is_service(name):
            if not self._services.knows(name):
                raise Unauthenticated("the client certificate names nobody here")
            return Principal(id=name, kind=PrincipalKind.SERVICE)
        if not is_device(name):
            return await self.authenticate(name, password)
        found = await self._devices.get(name)
        if found is None or found.disabled:
            raise Unauthenticated("the client certificate names nobody here")
        return Principal(id=name, kind=PrincipalKind.DEVICE, owner=found.owner)

    async def welcome(self, ids: Collection[str]) -> set[str]:
        """Those who exist and are not disabled.

        Raises:
            Unavailable: a store does not answer.
        """
        services = {id_ for id_ in ids if is_service(id_)}
        devices = sorted(id_ for id_ in ids if is_device(id_))
        users = sorted(set(ids) - services - set(devices))
        known = await asyncio.gather(self._users.existing(users), self._devices.existing(devices))
        return {id_ for id_ in services if self._services.knows(id_)}.union(*known)

    async def bearer(self, token: str) -> Principal:
        """Whose access token this is: a user's whose sign-in is alive and who is not disabled; a device's or service account's whose
        secret is still the one that got it.

        Raises:
            Unauthenticated: `invalid_token`, `token_expired`, or `signed_out`.
            Unavailable: a store does not answer.
        """
        claims = self._tokens.verify(token)
        if is_service(claims.sub):
            return await self._account(claims)
        if is_device(claims.sub):
            return await self._device_token(claims)
        if not await self._signed_in.holds((claims.sid, claims.sub)):
            raise signed_out()
        return _person(claims)

    def claimed(self, token: str) -> Principal | None:
        """The user whom a valid token names; None when it names none. Whether their sign-in still holds has not been asked yet.

        Raises:
            Unauthenticated: `invalid_token` or `token_expired`.
            Unavailable: the keys can't be read.
        """
        claims = self._tokens.verify(token)
        return None if is_service(claims.sub) or is_device(claims.sub) else _person(claims)

    async def _account(self, claims: Claims) -> Principal:
        account = None if self._accounts is None else await self._accounts.get(claims.sub)
        if account is None or credential_id(account.secret_hash) != claims.sid:
            raise Unauthenticated("this service account has ended, or has another secret", code="signed_out")
        granted = frozenset(claims.scope.split()) & frozenset(account.scopes)
        return Principal(id=account.id, kind=PrincipalKind.ACCOUNT, granted=granted)

    async def _device_token(self, claims: Claims) -> Principal:
        found = await self._devices.get(claims.sub)
        if found is None or found.disabled or credential_id(found.secret_hash) != claims.sid:
            raise Unauthenticated("this device is disabled, or has another secret", code="signed_out")
        return Principal(id=found.id, kind=PrincipalKind.DEVICE, owner=found.owner)

    def _service(self, service: str, secret: bytes) -> Principal:
        if not self._services.proves(service, secret):
            raise Unauthenticated(_WRONG)
        return Principal(id=service, kind=PrincipalKind.SERVICE)

    async def _device(self, device: str, secret: bytes) -> Principal:
        found = await self._devices.get(device)
        offered = hashlib.sha256(secret).hexdigest()
        if found is None or found.disabled or not hmac.compare_digest(found.secret_hash, offered):
            raise Unauthenticated(_WRONG)
        return Principal(id=device, kind=PrincipalKind.DEVICE, owner=found.owner)


def signed_out() -> Unauthenticated:
    """The refusal of a token whose sign-in no longer holds."""
    return Unauthenticated("this sign-in has ended", code="signed_out")


def _person(claims: Claims) -> Principal:
    return Principal(id=claims.sub, kind=PrincipalKind.USER, sid=claims.sid, admin=claims.admin)


def _text(password: bytes) -> str:
    try:
        return password.decode("ascii")
    except UnicodeDecodeError:
        raise Unauthenticated(_WRONG) from None
