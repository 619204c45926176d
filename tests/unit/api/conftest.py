from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from adapters.memory import memory_stores
from api.testing import Harness, running_api


@pytest.fixture
async def api(tmp_path: Path) -> AsyncIterator[Harness]:
    """The api on in-memory stores."""
    async with running_api(tmp_path, memory_stores()) as harness:
        yield harness
