"""`python -m bench.profile [SCENARIO]`: where our broker's time goes in a scenario, by py-spy's samples of what was running.

py-spy reads another process's memory: as root, or where the kernel allows it. It is not among the development tools:
`.venv/bin/python -m pip install py-spy`.
"""

from __future__ import annotations

import argparse
import contextlib
import linecache
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from bench.accounts import Accounts
from bench.broker import open_files, peers
from bench.measure import Result, measure
from bench.peers import Peer, PeerMissing, Running
from bench.scenarios import BASE, SCENARIOS, FanOut, Pairs, Scenario, users

ROOT = Path(__file__).resolve().parents[1]
SECONDS = 5
"""Of sampling, in the middle of the work."""
_START = 1.5
"""Seconds for everybody to be let in."""
_AREAS = {
    "decoding": ("mqtt/decode.py", "mqtt/codec.py", "mqtt/wire.py"),
    "encoding": ("mqtt/encode.py", "mqtt/messages.py", "mqtt/aliases.py"),
    "routing": ("mqtt/index.py", "mqtt/retained.py", "broker/router.py"),
    "session": ("mqtt/session.py", "mqtt/outbound.py", "mqtt/writing.py", "mqtt/subscription.py", "mqtt/outgoing.py", "mqtt/inbound.py", "mqtt/qos2.py", "broker/core.py", "broker/marks.py"),
    "sessions on disk": ("broker/durability.py", "broker/restoring.py", "mqtt/journal.py", "mqtt/store.py", "adapters/sqlite/", "sqlite3"),
    "handling of packets and rights": ("broker/publishing.py", "broker/connection.py", "broker/broker.py", "broker/subscribing.py"),
    "socket writes": ("broker/tcp.py:write", "broker/websocket.py:write"),
    "event loop and reads": ("asyncio/", "uvloop", "broker/tcp.py", "broker/websocket.py"),
    "login": ("adapters/", "pymongo", "joserfc", "cryptography", "redis", "msgspec", "bson", "broker/presence", "broker/chat_policy.py"),
}  # fmt: skip


def area(frame: str) -> str:
    """What the function at the end of a stack, `name (file:line)`, works on."""
    name, _, where = frame.partition(" (")
    path = where.split(":", 1)[0]
    marked = f"{path}:{name.rsplit('.', 1)[-1]}"
    for title, places in _AREAS.items():
        if any(place in marked for place in places):
            return title
    return "the rest"


def waits(frame: str) -> bool:
    """Whether the line at the end of a stack takes work from a queue: py-spy takes a thread that waits there for busy."""
    path, _, line = frame.rpartition(" (")[2].rstrip(")").rpartition(":")
    return ".get()" in linecache.getline(str(ROOT / path), int(line) if line.isdecimal() else 0)


def shares(stacks: str) -> list[tuple[str, float]]:
    """Share of the samples per area, the greatest first.

    Args:
        stacks: py-spy's raw format: a stack, frames parted by `;`, a space, how many samples, line by line.
    """
    found: Counter[str] = Counter()
    for line in stacks.splitlines():
        stack, _, samples = line.rpartition(" ")
        frame = stack.rsplit(";", 1)[-1]
        if not waits(frame):
            found[area(frame)] += int(samples)
    total = found.total()
    return [(title, samples / total) for title, samples in found.most_common()]


class _Sampled:
    """Our broker, sampled while it runs."""

    def __init__(self, peer: Peer, spy: str, file: Path) -> None:
        self.name, self.version, self.v5, self.setup = peer.name, peer.version, peer.v5, peer.setup
        self.password = peer.password
        self._peer, self._spy, self._file = peer, spy, file

    @contextmanager
    def start(self, *, persistent: bool) -> Iterator[Running]:
        """Run it, and py-spy beside it."""
        with self._peer.start(persistent=persistent) as running:
            sample = (
                f"sleep {_START}; exec {self._spy} record -p {running.pid} -d {SECONDS} -r 250 -f raw -o {self._file}"
            )
            spy = subprocess.Popen(["/bin/sh", "-c", sample], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            yield running
            with contextlib.suppress(subprocess.TimeoutExpired):
                spy.wait(SECONDS + 5)
            spy.kill()


def main() -> int:
    """Print a Markdown table; the exit code."""
    parser = argparse.ArgumentParser(prog="python -m bench.profile", description="Where our broker's time goes.")
    parser.add_argument("scenario", nargs="?", choices=list(SCENARIOS), default=BASE)
    name = parser.parse_args().scenario
    spy = shutil.which("py-spy") or shutil.which("py-spy", path=str(Path(sys.executable).parent))
    if spy is None:
        sys.stderr.write("profile: py-spy is missing: .venv/bin/python -m pip install py-spy\n")
        return 1
    scenario = _longer(SCENARIOS[name])
    accounts = Accounts(users([scenario]), (scenario.receivers,) if isinstance(scenario, FanOut) else ())
    try:
        open_files(accounts.users)
        with tempfile.TemporaryDirectory() as directory, peers(("pabal",), accounts) as (ours,):
            file = Path(directory, "stacks")
            result = measure(scenario, _Sampled(ours, spy, file), few=False)
            print(table(scenario, result, shares(file.read_text())))
    except (PeerMissing, OSError, RuntimeError) as error:
        sys.stderr.write(f"profile: {error}\n")
        return 1
    return 0


def table(scenario: Scenario, result: Result, found: list[tuple[str, float]]) -> str:
    """Shares, and what they come to of the CPU time that one costs."""
    each = result.server / result.value * 1e6
    lines = [
        f"{scenario.title}: {each:.1f} µs of the broker's CPU for each, py-spy and all.",
        "",
        "| | share | µs |",
        "|---|---:|---:|",
    ]
    lines += [f"| {title} | {share:.0%} | {each * share:.2f} |" for title, share in found if share >= 0.005]
    return "\n".join(lines)


def _longer(scenario: Scenario) -> Scenario:
    """Enough work for the time of the sampling."""
    if isinstance(scenario, Pairs | FanOut):
        return replace(scenario, messages=scenario.messages * 4)
    return replace(scenario, connections=10_000)


if __name__ == "__main__":
    sys.exit(main())
