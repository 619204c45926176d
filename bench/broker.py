"""`python -m bench.broker`: our broker, Mosquitto and amqtt in turn on identical work, with login, rights and sessions on.

Each measurement starts its broker anew; a round does all scenarios, and in each of them one broker after the other. Our broker
needs mongod and Valkey behind it, as it does for its users: they are started once.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from bench.accounts import Accounts
from bench.chart import draw
from bench.measure import Result, measure
from bench.peer_amqtt import Amqtt
from bench.peer_mosquitto import Mosquitto
from bench.peer_pabal import with_servers
from bench.peers import Peer, PeerMissing
from bench.report import Report, markdown
from bench.scenarios import BASE, PLAIN, SCENARIOS, FanOut, Scenario, shortened, users

HERE = Path(__file__).parent
BEGIN, END = "<!-- bench-broker: written by make bench-broker ARGS=--save -->", "<!-- bench-broker: end -->"
PEERS = ("pabal", "mosquitto", "amqtt")
SLOW = frozenset({"amqtt"})
"""Does some 5,000 messages/s: gets fewer of them, so that a round ends."""
_SPARE_FILES = 200

Told = Callable[[str], None]


@contextmanager
def peers(wanted: Sequence[str], accounts: Accounts) -> Iterator[list[Peer]]:
    """The brokers by name, ready to be started.

    Raises:
        PeerMissing: one of them is not installed.
    """
    with tempfile.TemporaryDirectory(prefix="pabal-bench-") as name:
        directory = Path(name)
        directory.chmod(0o755)
        made: list[Peer] = []
        if "mosquitto" in wanted:
            made.append(Mosquitto(accounts, directory))
        if "amqtt" in wanted:
            made.append(Amqtt(accounts, directory))
        if "pabal" not in wanted:
            yield made
            return
        with with_servers(accounts, directory) as pabal:
            yield [pabal, *made]


def compare(scenarios: Mapping[str, Scenario], brokers: Sequence[Peer], *, rounds: int, tell: Told) -> Report:
    """Measure them all.

    Args:
        tell: hears of each measurement, in a line.
    """
    report = Report(scenarios, {peer.name: peer.version for peer in brokers})
    for number in range(1, rounds + 1):
        for name, scenario in scenarios.items():
            for peer in brokers:
                if scenario.v5 and not peer.v5:
                    continue
                start = time.monotonic()
                try:
                    result, said = _one(name, scenario, peer)
                except (OSError, RuntimeError) as error:
                    # The others took minutes: they stand, and this is told of in the report.
                    result, said = None, f"{name}, {peer.name}: {error}"
                    report.failures.append(f"round {number}, {said}")
                report.add(name, peer.name, result)
                tell(f"round {number}/{rounds} {said} ({time.monotonic() - start:.0f} s)")
    report.setups = {peer.name: peer.setup for peer in brokers}
    return report


def steps(scenarios: Mapping[str, Scenario], brokers: Sequence[Peer], rounds: int) -> int:
    """How many measurements that makes."""
    return rounds * sum(peer.v5 or not scenario.v5 for scenario in scenarios.values() for peer in brokers)


def short(*, rounds: int, messages: int) -> str:
    """Ours and Mosquitto on the plain scenario; Markdown."""
    scenarios: dict[str, Scenario] = {BASE: replace(PLAIN, messages=messages)}
    accounts = Accounts(0)
    with peers(("pabal", "mosquitto"), accounts) as brokers:
        return markdown(compare(scenarios, brokers, rounds=rounds, tell=lambda _: None))


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the tables, write them down; the exit code."""
    options = _parser().parse_args(arguments)
    scenarios = {name: SCENARIOS[name] for name in options.only or SCENARIOS}
    if options.quick:
        scenarios = {name: shortened(scenario) for name, scenario in scenarios.items()}
    rounds = options.rounds or (1 if options.quick else 3)
    console = Console(stderr=True)
    chats = tuple(one.receivers for one in scenarios.values() if isinstance(one, FanOut))
    accounts = Accounts(users(list(scenarios.values())), chats)
    try:
        open_files(accounts.users + _SPARE_FILES)
        with peers(options.peers, accounts) as brokers, bar(console) as progress:
            task = progress.add_task("measuring", total=steps(scenarios, brokers, rounds))

            def tell(line: str) -> None:
                console.print(line, highlight=False, soft_wrap=True)
                progress.advance(task)

            report = compare(scenarios, brokers, rounds=rounds, tell=tell)
    except (PeerMissing, OSError, RuntimeError) as error:
        sys.stderr.write(f"bench-broker: {error}\n")
        return 1
    except KeyboardInterrupt:
        return 130
    print(markdown(report))
    for file in write(report, HERE / "results" if options.save else HERE / "out"):
        console.print(f"wrote {file}", highlight=False)
    if options.save:
        readme = HERE / "README.md"
        readme.write_text(replaced(readme.read_text(), markdown(report)))
    return 1 if report.failures else 0


def write(report: Report, directory: Path) -> list[Path]:
    """Raw numbers and picture."""
    directory.mkdir(exist_ok=True)
    contents = {
        "broker.json": json.dumps(report.as_json(), indent=1) + "\n",
        "broker.svg": draw(report),
    }
    for name, text in contents.items():
        (directory / name).write_text(text)
    return [directory / name for name in contents]


def replaced(text: str, tables: str, *, begin: str = BEGIN, end: str = END) -> str:
    """`text` with other tables between its two marks.

    Raises:
        ValueError: it has no such marks.
    """
    before, began, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not began or not ended:
        raise ValueError("the README has no place for the tables")
    return f"{before}{begin}\n\n{tables}\n\n{end}{after}"


def _one(name: str, scenario: Scenario, peer: Peer) -> tuple[Result, str]:
    result = measure(scenario, peer, few=peer.name in SLOW)
    cores = f"broker {result.server:.2f}, load {result.load:.2f} cores"
    return result, f"{name:<11} {peer.name:<9} {result.value:>10,.0f} {scenario.unit}, {cores}"


def bar(console: Console) -> Progress:
    """How far it is, where somebody looks."""
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.completed}/{task.total}"))
    return Progress(
        *columns, TimeElapsedColumn(), TimeRemainingColumn(), console=console, disable=not console.is_terminal
    )


def open_files(needed: int) -> None:
    """Allow this process so many open files.

    Raises:
        OSError: more than it may have.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < needed:
        raise OSError(
            f"{needed} open files are needed, and {hard} allowed: raise `ulimit -Hn`, or leave out idle (--only)"
        )
    if soft < needed:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed if hard == resource.RLIM_INFINITY else hard, hard))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m bench.broker", description=__doc__.split("\n", 1)[0])
    parser.add_argument("--quick", action="store_true", help="one round of less work: about three minutes")
    parser.add_argument("--rounds", type=int, metavar="N", help="default: 3, with --quick 1")
    parser.add_argument(
        "--only",
        action="append",
        choices=list(SCENARIOS),
        metavar="NAME",
        help=f"one of {', '.join(SCENARIOS)}; repeat it",
    )
    parser.add_argument("--peers", nargs="+", choices=PEERS, default=PEERS, help="default: all")
    parser.add_argument("--save", action="store_true", help="into bench/results and bench/README.md, not bench/out")
    return parser


if __name__ == "__main__":
    sys.exit(main())
