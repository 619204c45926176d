"""Shadow bans that administrators have set: read from the store, beside the file."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from adapters.memory import memory_stores
from bridge.decode import Draft
from bridge.filters.assembly import Filters
from bridge.gather import Arrival
from bridge.metrics import Metrics
from bridge.settings import Settings
from chat.envelopes import Body, Send
from chat.errors import Unavailable
from chat.ids import new_message_id
from chat.models import User
from chat.ports import Delivery


def shadowed(filters: Filters, sender: str) -> bool:
    delivery = Delivery("chats/g-1/send/x", b"", 1, lambda *_: None)
    draft = Draft(Arrival(delivery, "g-1", sender, 0.0), Send(new_message_id(), body=Body(text="안녕하세요")))
    filters.chain.check(draft)
    assert draft.only in (None, sender)
    return draft.only is not None


async def test_administrators_ban_and_the_file_bans(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stores = memory_stores()
    await stores.users.add(User("haneul", "하늘", "hash", datetime.now(UTC)))
    file = tmp_path / "shadows"
    file.write_text("bada\n")
    settings = Settings(link_secret_file=tmp_path, bridge_shadow_file=file)
    filters = Filters(settings, None, Metrics(CollectorRegistry()), stores.admin)
    await filters.refresh()
    assert [shadowed(filters, who) for who in ("haneul", "bada", "jiki")] == [False, True, False]
    await stores.admin.set_shadowed("haneul", shadowed=True)
    await filters.refresh()
    assert [shadowed(filters, who) for who in ("haneul", "bada", "jiki")] == [True, True, False]

    async def away() -> set[str]:
        raise Unavailable("the database does not answer")

    with monkeypatch.context() as patch:
        patch.setattr(stores.admin, "shadowed", away)
        await filters.refresh()
        assert shadowed(filters, "haneul")
    await stores.admin.set_shadowed("haneul", shadowed=False)
    await filters.refresh()
    assert not shadowed(filters, "haneul")
