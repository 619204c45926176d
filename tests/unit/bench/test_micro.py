"""The micro benchmark measures what it says: every message of every scenario is delivered."""

from __future__ import annotations

import pytest

from bench.micro import CLIENTS, RECEIVERS, SCENARIOS, WINDOW

TURNS = 2


@pytest.mark.parametrize("name", [name for name in SCENARIOS if name != "pairs-10000"])
def test_every_message_is_delivered(name: str) -> None:
    run, _ = SCENARIOS[name]
    receivers = RECEIVERS if name.startswith("fan-out") else CLIENTS
    assert run(TURNS).delivered == TURNS * WINDOW * receivers
