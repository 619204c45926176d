"""Keys change while tokens of the old ones are about."""

from __future__ import annotations

import base64
import json
import os
import signal
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.signing_keys import (
    AHEAD_SECONDS,
    KEPT_SECONDS,
    RETIRED,
    load_keys,
    new_key,
    rotate,
    states,
    withdraw,
    write_jwks,
)
from adapters.tokens import ACCESS_TTL, ISSUER_INTERVAL, LEEWAY, Jwks, TokenIssuer, TokenVerifier
from chat.errors import Conflict, NotFound, Unauthenticated, Unavailable


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


class World:
    def __init__(self, directory: Path) -> None:
        self.keys_dir, self.jwks_file = directory / "keys", directory / "jwks.json"
        self.first = new_key(self.keys_dir)
        write_jwks(self.keys_dir, self.jwks_file)
        self.clock, self.monotonic = Clock(1_900_000_000), Clock(0.0)
        self.issuer = TokenIssuer(self.keys_dir, clock=self.clock, monotonic=self.monotonic)
        self.verifier = TokenVerifier(Jwks(self.jwks_file, monotonic=self.monotonic), clock=self.clock)

    def token(self) -> str:
        return self.issuer.issue("haneul", sid="s").value

    def valid(self, token: str) -> bool:
        try:
            return self.verifier.verify(token).sub == "haneul"
        except Unauthenticated:
            return False

    def passes(self, seconds: float) -> None:
        self.clock.now += seconds
        self.monotonic.now += seconds

    def rotate(self) -> str:
        return rotate(self.keys_dir, self.jwks_file, clock=self.clock, pause=self.passes)

    def published(self) -> list[str]:
        return [key["kid"] for key in json.loads(self.jwks_file.read_text())["keys"]]


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def kid(token: str) -> str:
    return str(json.loads(base64.urlsafe_b64decode(token.split(".", maxsplit=1)[0] + "=="))["kid"])


def test_a_rotation_logs_nobody_out(world: World) -> None:
    old = world.token()
    assert world.valid(old)
    second = world.rotate()
    late = world.token()  # the issuer has not looked yet, and signs with a key whose file is gone
    assert kid(late) == world.first
    assert world.valid(late)
    world.passes(ISSUER_INTERVAL)
    fresh = world.token()
    assert kid(fresh) == second
    assert all(world.valid(token) for token in (old, late, fresh))
    third = world.rotate()
    assert world.published() == [third, second, world.first]
    assert all(world.valid(token) for token in (old, late, fresh))


def test_verifiers_can_know_a_key_before_it_signs(world: World) -> None:
    """What they ask for while the rotation waits: it is published, and no issuer has it."""
    seen: list[tuple[list[str], str]] = []

    def pause(seconds: float) -> None:
        world.passes(seconds)
        world.passes(ISSUER_INTERVAL)
        seen.append((world.published(), kid(world.token())))

    new = rotate(world.keys_dir, world.jwks_file, clock=world.clock, pause=pause)
    assert seen == [([new, world.first], world.first)]
    assert AHEAD_SECONDS > 1.0  # the verifiers' interval


def test_a_retired_key_is_kept_as_long_as_its_tokens_live_and_no_longer(world: World) -> None:
    assert KEPT_SECONDS > ACCESS_TTL + LEEWAY + ISSUER_INTERVAL
    new = world.rotate()
    (retired,) = [state for state in states(world.keys_dir) if state.state == "retired"]
    assert (retired.kid, retired.until) == (world.first, int(world.clock.now) + KEPT_SECONDS)
    world.passes(KEPT_SECONDS - 1)
    write_jwks(world.keys_dir, world.jwks_file, clock=world.clock)
    assert world.first in world.published()
    world.passes(2)
    write_jwks(world.keys_dir, world.jwks_file, clock=world.clock)
    assert world.published() == [new]
    assert list((world.keys_dir / RETIRED).iterdir()) == []


def test_only_public_halves_of_older_keys_are_left(world: World) -> None:
    world.rotate()
    (file,) = (world.keys_dir / RETIRED).iterdir()
    assert "d" not in json.loads(file.read_text())
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    published = json.loads(world.jwks_file.read_text())["keys"]
    assert all({"d", "until"}.isdisjoint(key) for key in published)
    assert len(load_keys(world.keys_dir)) == 1


def test_a_withdrawn_key_stops_verifying(world: World) -> None:
    token = world.token()
    world.rotate()
    assert world.valid(token)
    withdraw(world.keys_dir, world.jwks_file, world.first)
    world.passes(61)
    assert not world.valid(token)
    assert [state.state for state in states(world.keys_dir)] == ["signing"]


def test_what_can_not_be_withdrawn(world: World) -> None:
    with pytest.raises(Conflict):
        withdraw(world.keys_dir, world.jwks_file, world.first)
    for name in ("x", "../jwks", "retired"):
        with pytest.raises(NotFound):
            withdraw(world.keys_dir, world.jwks_file, name)
    assert world.valid(world.token())


def test_an_issuer_keeps_its_key_while_the_files_can_not_be_read(world: World) -> None:
    (world.keys_dir / "zzz.json").write_text("{")
    world.passes(ISSUER_INTERVAL)
    assert kid(world.token()) == world.first


def test_broken_retired_keys_are_told(world: World) -> None:
    world.rotate()
    (world.keys_dir / RETIRED / "zzz.json").write_text("{}")
    with pytest.raises(Unavailable):
        states(world.keys_dir)


def command(world: World, *arguments: str) -> subprocess.CompletedProcess[str]:
    argv = [sys.executable, "-m", "api.keys", "--json", *arguments]
    env = {**os.environ, "PABAL_KEYS_DIR": str(world.keys_dir), "PABAL_JWKS_FILE": str(world.jwks_file)}
    return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=60, check=False)


def test_the_command(world: World) -> None:
    rotated = json.loads(command(world, "rotate").stdout)
    assert [row["state"] for row in rotated] == ["signing", "retired"]
    refused = command(world, "retire", rotated[0]["kid"])
    assert (refused.returncode, "rotate first" in refused.stderr) == (1, True)
    assert [row["state"] for row in json.loads(command(world, "retire", rotated[1]["kid"]).stdout)] == ["signing"]
    assert command(world, "list").returncode == 0


def test_a_rotation_that_is_killed_leaves_keys_that_verify(world: World) -> None:
    token = world.token()
    argv = [sys.executable, "-m", "api.keys", "--keys-dir", str(world.keys_dir), "--jwks-file", str(world.jwks_file)]
    with subprocess.Popen([*argv, "rotate"]) as process:
        while len(world.published()) == 1:
            assert process.poll() is None
        process.send_signal(signal.SIGKILL)
    world.passes(61)
    assert world.valid(token)
    assert world.valid(world.token())
    world.rotate()
    world.passes(ISSUER_INTERVAL)
    assert world.valid(token)
    assert world.valid(world.token())
