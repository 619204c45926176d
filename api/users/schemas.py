"""What others may know of a user."""

from __future__ import annotations

import msgspec


class Profile(msgspec.Struct):
    """A user, as others see them."""

    id: str
    display_name: str


PROFILE_EXAMPLE = {"id": "haneul", "display_name": "김하늘"}
