"""Whether a sign-in holds: what every request and every CONNECT asks before anything else."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, TypeAlias

SignIn: TypeAlias = tuple[str, str]
"""The id of a sign-in (`Grant.sid`), and its user."""


class SignInStore(Protocol):
    """Sign-ins and their users in one question: the way to the database costs more than the answer."""

    async def holding(self, sign_ins: Sequence[SignIn]) -> set[SignIn]:
        """Those that have not ended (`GrantStore.alive`) and whose user may come in (`UserStore.existing`)."""
        ...
