"""The servers of compose.yaml are told what `pabal up` tells its own."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import yaml

from stack import replica_set, servers
from stack.ports import Address
from stack.processes import REPOSITORY

NOWHERE = Address("127.0.0.1", 1)


def _options(argv: list[str]) -> dict[str, list[str]]:
    """`--name value …` by name; several values of one name in order."""
    found: dict[str, list[str]] = {}
    for number, word in enumerate(argv):
        if word.startswith("--"):
            follows = argv[number + 1] if number + 1 < len(argv) else ""
            found.setdefault(word[2:], []).append("" if follows.startswith("--") else follows)
    return found


def test_mongod_has_the_same_parameters() -> None:
    conf: dict[str, Any] = yaml.safe_load((REPOSITORY / "deploy" / "mongod.conf").read_text())
    ours = _options(servers.mongod_command(Path("mongod"), Path("data"), NOWHERE, cache_gb=0.5))
    parameters = dict(one.split("=") for one in ours["setParameter"])
    assert {name: str(value).lower() for name, value in conf["setParameter"].items()} == parameters
    assert conf["replication"] == {"replSetName": replica_set.NAME, "oplogSizeMB": int(ours["oplogSize"][0])}
    assert str(conf["storage"]["wiredTiger"]["engineConfig"]["cacheSizeGB"]) == ours["wiredTigerCacheSizeGB"][0]
    assert conf["security"]["authorization"] == "enabled"


def test_valkey_has_the_same_memory_and_eviction_and_asks_for_a_password() -> None:
    text = (REPOSITORY / "deploy" / "valkey.conf").read_text()
    conf = dict(re.findall(r"^(\S+) (.+)$", re.sub(r"^#.*$", "", text, flags=re.MULTILINE), re.MULTILINE))
    ours = _options(servers.valkey_command(Path("valkey"), Path("data"), NOWHERE))
    for name in ("save", "appendonly", "maxmemory", "maxmemory-policy"):
        assert conf[name].strip('"') == ours[name][0], name
    assert conf["include"] == "/run/secrets/valkey-auth"
