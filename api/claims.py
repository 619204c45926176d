"""Callers whose sign-in is looked up together with what they ask for: one question to the database in place of two."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from adapters.authenticator import signed_out
from chat.models import Principal
from chat.sign_ins import SignIn


@dataclass(frozen=True, slots=True)
class Claim:
    """Who calls, by a valid token. Their rights begin with `proven`, and nothing is to be told or done before.

    Attributes:
        named: the user whom the token names.
        admit: what everybody has to pass who is who they say.
    """

    named: Principal
    admit: Callable[[Principal], Principal]

    @property
    def sign_in(self) -> SignIn:
        """What has to hold."""
        return self.named.sid or "", self.named.id

    def proven(self, *, signed_in: bool) -> Principal:
        """The caller.

        Args:
            signed_in: whether `sign_in` holds, of a store that was asked since the request began.

        Raises:
            Unauthenticated: `signed_out`.
            PabalError: of `admit`.
        """
        if not signed_in:
            raise signed_out()
        return self.admit(self.named)
