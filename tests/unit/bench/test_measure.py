"""The smallest of everything, on real servers: that figures come out, not which."""

from collections.abc import Iterator

import pytest

from bench.accounts import Accounts
from bench.broker import compare, peers
from bench.load import Tally, Target, Who, engine
from bench.measure import measure
from bench.peers import Peer, PeerMissing
from bench.report import markdown
from bench.scenarios import Connects, FanOut, Idle, Pairs, Scenario
from tests.conftest import unavailable

TINY: dict[str, Scenario] = {
    "pairs": Pairs("pairs", messages=400),
    "v5": Pairs("v5", version=5, messages=400),
    "qos0": Pairs("qos0", qos=0, messages=400),
    "qos2": Pairs("qos2", qos=2, messages=400),
    "exact": Pairs("exact", others=40, messages=400),
    "wildcards": Pairs("wildcards", others=40, wildcards=True, messages=400),
    "shared": Pairs("shared", version=5, share=4, messages=400),
    "websocket": Pairs("websocket", websocket=True, messages=400),
    "kept": Pairs("kept", keep=True, messages=400),
    "fanout500": FanOut("fan-out", 3, messages=20),
    "connects": Connects(5),
    "idle": Idle(5),
}


@pytest.fixture(scope="module")
def ours() -> Iterator[Peer]:
    try:
        with peers(("pabal",), Accounts(20, (3,))) as (peer,):
            yield peer
    except PeerMissing as missing:
        unavailable(str(missing))


@pytest.mark.parametrize("name", TINY)
def test_every_scenario_comes_to_an_end_on_our_broker(ours: Peer, name: str) -> None:
    found = measure(TINY[name], ours, few=False)
    assert found.value > 0
    if isinstance(TINY[name], Pairs | FanOut):
        assert found.delivery is not None
        assert 0 < found.delivery[0] <= found.delivery[1]
        assert (found.ack is None) == (name == "qos0")
    elif name == "connects":
        assert found.ack is not None


def test_a_comparison_tells_of_each_step_and_leaves_out_who_can_not(ours: Peer) -> None:
    class Old:
        name, version, v5, setup = "old", "1", False, "none"
        password, start = ours.password, ours.start

    told: list[str] = []
    report = compare({"shared": TINY["shared"], "pairs": TINY["pairs"]}, [ours, Old()], rounds=2, tell=told.append)
    assert len(told) == 6
    assert {name: list(found) for name, found in report.results.items()} == {
        "shared": ["Pabal"],
        "pairs": ["Pabal", "old"],
    }
    assert "old" in markdown(report)


def test_who_may_not_is_an_error_and_no_measurement(ours: Peer) -> None:
    with ours.start(persistent=False) as running, engine() as load:
        stranger = Who("u00000", "u00000", b"wrong")
        with pytest.raises(ConnectionError, match="refused"):
            load.open(Target(running.port), [stranger], Tally())
    with ours.start(persistent=False) as running, engine() as load:
        nosy = Who("u00000", "u00000", ours.password("u00000"), filters=("users/u00001/inbox",))
        with pytest.raises(ConnectionError, match="may not subscribe"):
            load.open(Target(running.port), [nosy], Tally())


def test_what_fails_is_told_and_the_rest_goes_on(ours: Peer) -> None:
    class Shut:
        name, version, v5, setup = "shut", "1", True, "none"
        start = ours.start

        def password(self, _: str) -> bytes:
            return b"wrong"

    told: list[str] = []
    report = compare({"pairs": TINY["pairs"]}, [Shut(), ours], rounds=1, tell=told.append)
    assert report.results["pairs"]["shut"] == [None]
    assert "refused" in report.failures[0]
    assert "refused" in told[0]
    assert report.results["pairs"]["Pabal"][0] is not None
