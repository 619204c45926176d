from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.stores import Stores
from api.testing import Harness, running_api
from tests.contract.api.world import World, running_world


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
