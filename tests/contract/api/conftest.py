from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.stores import Stores
from api.testing import Harness, running_api
from tests.contract.api.world import World, running_world

HERE = Path(__file__).parent


ONCE = ("test_every_route", "test_oidc")
"""What is asked there is decided before any store: with LONG=1 it is tried on the database too."""


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.parent == HERE and item.path.stem in ONCE and "[mongo" in item.name:
            item.add_marker(pytest.mark.long)


@pytest.fixture
async def api(tmp_path: Path, stores: Stores) -> AsyncIterator[Harness]:
    """The api on in-memory stores, and on a real MongoDB."""
    async with running_api(tmp_path, stores) as harness:
        yield harness


@pytest.fixture
async def world(tmp_path: Path, stores: Stores) -> AsyncIterator[World]:
    """The api with a chat that has somebody in every role."""
    async with running_world(tmp_path, stores) as made:
        yield made
