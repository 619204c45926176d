"""What the administration's routes about messages take and answer."""

from __future__ import annotations

import msgspec


class Moderated(msgspec.Struct):
    """A message that is deleted for everyone. `seq`: of the event that deletes it."""

    message: str
    chat: str
    seq: int


MODERATED_EXAMPLE = {"message": "018f4a1c-0000-7000-8000-000000000001", "chat": "g-1", "seq": 9}
