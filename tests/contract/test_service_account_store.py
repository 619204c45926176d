"""`ServiceAccountStore`."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from adapters.stores import Stores
from chat.models import ServiceAccount

AT = datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)


def account(id_: str, **fields: Any) -> ServiceAccount:
    made = {
        "name": "주문 알림",
        "scopes": ["introspect"],
        "secret_hash": "ab" * 32,
        "created_at": AT,
        "created_by": "root",
    }
    return ServiceAccount(id=id_, **{**made, **fields})


async def test_accounts(stores: Stores) -> None:
    accounts = stores.service_accounts
    assert await accounts.add(account("svc-b"))
    assert await accounts.add(account("svc-a", scopes=["admin", "introspect"]))
    assert not await accounts.add(account("svc-a", name="other"))
    assert await accounts.get("svc-a") == account("svc-a", scopes=["admin", "introspect"])
    assert await accounts.get("svc-x") is None
    assert [one.id for one in await accounts.page()] == ["svc-a", "svc-b"]
    assert [one.id for one in await accounts.page(limit=1)] == ["svc-a"]
    assert [one.id for one in await accounts.page(after="svc-a")] == ["svc-b"]


async def test_a_secret_is_replaced_and_an_account_removed(stores: Stores) -> None:
    accounts = stores.service_accounts
    await accounts.add(account("svc-a"))
    assert await accounts.set_secret("svc-a", "cd" * 32)
    assert await accounts.get("svc-a") == account("svc-a", secret_hash="cd" * 32)
    assert not await accounts.set_secret("svc-x", "cd" * 32)
    assert await accounts.remove("svc-a")
    assert not await accounts.remove("svc-a")
    assert await accounts.get("svc-a") is None
