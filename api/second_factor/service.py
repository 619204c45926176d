"""The second factor: begun with the password, confirmed with a code, asked for at each sign-in with a password.

A refresh asks for none: the refresh token is what that sign-in has.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NoReturn

import structlog

from adapters import totp
from adapters.sealing import Seal
from api import creation
from api.auth.passwords import Passwords
from api.clock import now
from api.events import SecurityEvents
from api.limits import Limits
from api.second_factor.schemas import Begin, Code, FactorState, NewFactor, RecoveryCodes, Remove
from api.trail import Trail
from chat.errors import Conflict, Forbidden, NotFound, Unavailable
from chat.models import Principal, SecondFactor, User
from chat.ports import SecondFactorStore, UserStore

ISSUER = "Pabal"
RECOVERY_CODES = 10

_ALPHABET = "abcdefghjkmnpqrstvwxyz23456789"
"""Without letters and digits that look alike."""

RECOVERY_LENGTH = 24
"""Of 30 letters: 117 bits, so that a plain hash of one can't be turned back (OWASP ASVS 5.0, 6.5.2)."""

_log = structlog.get_logger("api")


@dataclass(frozen=True, slots=True)
class SecondFactors:
    """The decisions of `/v1/me/second-factor`, and whether a sign-in may go on."""

    factors: SecondFactorStore
    users: UserStore
    passwords: Passwords
    limits: Limits
    seal: Seal
    events: SecurityEvents
    clock: Callable[[], float] = time.time

    async def state(self, caller: Principal) -> FactorState:
        """Whether it is on."""
        factor = await self.factors.get(caller.id)
        enabled = factor is not None and factor.confirmed
        return FactorState(enabled=enabled, recovery_codes=len(factor.recovery) if factor and enabled else 0)

    async def begin(self, wish: Begin, *, caller: Principal, trail: Trail) -> NewFactor:
        """A new secret, which counts once it is confirmed.

        Raises:
            Forbidden: `wrong_password`.
            Conflict: `second_factor_on`.
            RateLimited: too many tries.
        """
        await self._password(wish.password, caller, trail)
        secret = creation.chosen("second factor", totp.SECRET_BYTES)
        sealed = self.seal.seal(secret, purpose=_purpose(caller.id))
        if not await self.factors.begin(SecondFactor(user=caller.id, sealed=sealed, created_at=now())):
            raise Conflict("there is a second factor already: remove it first", code="second_factor_on")
        return NewFactor(secret=totp.base32(secret), uri=totp.uri(secret, account=caller.id, issuer=ISSUER))

    async def confirm(self, wish: Code, *, caller: Principal, trail: Trail) -> RecoveryCodes:
        """The app shows the right codes: from now on signing in asks for one.

        Raises:
            NotFound: `no_second_factor`: none was begun, or it is confirmed.
            Forbidden: `wrong_code`.
            RateLimited: too many tries.
        """
        await self.limits.sign_in(caller.id, trail.address)
        factor = await self.factors.get(caller.id)
        codes = [_recovery_code(number) for number in range(RECOVERY_CODES)]
        digests = [_digest(code) for code in codes]
        if factor is not None and factor.confirmed and creation.resumed() and set(factor.recovery) == set(digests):
            return RecoveryCodes(recovery_codes=codes)  # an attempt that was killed has made it count
        if factor is None or factor.confirmed:
            _none()
        step = totp.matching_step(self._secret(factor), wish.code, now=self.clock(), after=0)
        if step is None:
            self._refused(caller, trail, "code")
            _wrong()
        await trail.record("second_factor.on", target=caller.id)
        if not await self.factors.confirm(caller.id, step=step, recovery=digests):
            _none()
        await self.limits.signed_in(caller.id)
        _log.info("second_factor.on", user=caller.id)
        return RecoveryCodes(recovery_codes=codes)

    async def remove(self, wish: Remove, *, caller: Principal, trail: Trail) -> None:
        """Signing in asks for no code any more.

        Raises:
            NotFound: `no_second_factor`.
            Forbidden: `wrong_password`, `wrong_code`.
            RateLimited: too many tries.
        """
        await self._password(wish.password, caller, trail)
        factor = await self.factors.get(caller.id)
        if factor is None or not factor.confirmed:
            _none()
        if not await self._uses(factor, wish.code):
            self._refused(caller, trail, "code")
            _wrong()
        await trail.record("second_factor.off", target=caller.id)
        await self.factors.remove(caller.id)
        await self.limits.signed_in(caller.id)
        _log.info("second_factor.off", user=caller.id)

    async def passes(self, user: User, code: str | None) -> bool:
        """Whether somebody with the right password may go on; a code or recovery code is used up by it.

        Raises:
            Forbidden: `mfa_required`: they have a second factor, and showed no code.
        """
        factor = await self.factors.get(user.id)
        if factor is None or not factor.confirmed:
            return True
        if not code:
            raise Forbidden("this account needs a code of its authenticator app as well", code="mfa_required")
        return await self._uses(factor, code)

    async def _uses(self, factor: SecondFactor, code: str) -> bool:
        plain = code.replace(" ", "").lower()
        step = totp.matching_step(self._secret(factor), plain, now=self.clock(), after=factor.step)
        if step is not None:
            return await self.factors.use_step(factor.user, step)
        used = await self.factors.use_recovery(factor.user, _digest(plain))
        if used:
            left = len(factor.recovery) - 1
            _log.warning("second_factor.recovered", user=factor.user, left=left)
            self.events.happened("second_factor.recovered", by=factor.user, left=str(left))
        return used

    def _secret(self, factor: SecondFactor) -> bytes:
        secret = self.seal.open(factor.sealed, purpose=_purpose(factor.user))
        if secret is None:  # the keys directory is another one
            raise Unavailable("the second factor can't be checked")
        return secret

    def _refused(self, caller: Principal, trail: Trail, cause: str) -> None:
        self.events.refused("second_factor.refused", address=trail.address, cause=cause, target=caller.id)

    async def _password(self, password: str, caller: Principal, trail: Trail) -> None:
        await self.limits.sign_in(caller.id, trail.address)
        user = await self.users.get(caller.id)
        if user is None or not await self.passwords.matches(user.password_hash, password):
            self._refused(caller, trail, "password")
            raise Forbidden("the current password is wrong", code="wrong_password")


def _purpose(user: str) -> str:
    return f"totp:{user}"


def _recovery_code(number: int) -> str:
    rest, letters = int.from_bytes(creation.chosen(f"recovery code {number}", 32)), ""
    for _ in range(RECOVERY_LENGTH):  # of 256 bits 118 are used: no letter is likelier than another
        rest, place = divmod(rest, len(_ALPHABET))
        letters += _ALPHABET[place]
    return "-".join(letters[start : start + 4] for start in range(0, RECOVERY_LENGTH, 4))


def _digest(code: str) -> str:
    return hashlib.sha256(code.replace("-", "").encode("utf-8", "surrogatepass")).hexdigest()


def _none() -> NoReturn:
    raise NotFound("there is no second factor to do this with", code="no_second_factor")


def _wrong() -> NoReturn:
    raise Forbidden("the code is wrong, or was used", code="wrong_code")
