from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from stack import processes, servers, up
from stack.keeper import StackFailed
from stack.processes import Plan, ProcessSpec, Restart
from stack.settings import StackSettings
from stack.state import State


@pytest.fixture
def state(tmp_path: Path) -> State:
    return State.at(tmp_path)


@pytest.fixture(autouse=True)
def binaries(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(servers, "find_mongod", lambda: Path("/bin/mongod"))
    monkeypatch.setattr(servers, "find_valkey", lambda: Path("/bin/valkey-server"))
    for name in ("PABAL_MONGO_URL", "PABAL_VALKEY_URL", "PABAL_BROKER_TLS_CERT", "PABAL_BROKER_TLS_KEY"):
        monkeypatch.delenv(name, raising=False)


def by_name(plan: Plan) -> dict[str, ProcessSpec]:
    return {spec.name: spec for spec in plan.specs}


def test_everything_starts_after_what_it_needs(state: State) -> None:
    plan = processes.plan(StackSettings(), state)
    names = [spec.name for spec in plan.specs]
    assert names == ["mongod", "valkey", "fcm", "bootstrap", "broker", "bridge", "api", "worker"]
    for spec in plan.specs:
        assert all(names.index(need) < names.index(spec.name) for need in spec.depends_on)
    specs = by_name(plan)
    assert set(specs["bootstrap"].depends_on) == {"mongod", "valkey", "fcm"}
    assert specs["broker"].depends_on == ("bootstrap",)
    assert all(specs[name].depends_on == ("broker",) for name in ("bridge", "api", "worker"))


def test_only_the_bootstrap_runs_once_and_everything_else_has_a_probe(state: State) -> None:
    for spec in processes.plan(StackSettings(), state).specs:
        assert (spec.restart is Restart.ONCE) == (spec.name == "bootstrap")
        assert (spec.healthy is None) == (spec.name == "bootstrap")


def test_ports_reach_the_processes(state: State) -> None:
    plan = processes.plan(StackSettings(port_base=21000), state)
    specs = by_name(plan)
    assert specs["broker"].env["PABAL_BROKER_TCP"] == "127.0.0.1:21000"
    assert specs["broker"].env["PABAL_BROKER_WS"] == "127.0.0.1:21001"
    assert specs["broker"].env["PABAL_BROKER_HTTP"] == "127.0.0.1:21003"
    assert specs["api"].env["PABAL_API_BIND"] == "127.0.0.1:21002"
    assert specs["bridge"].env["PABAL_BRIDGE_HTTP"] == "127.0.0.1:21004"
    assert specs["worker"].env["PABAL_WORKER_HTTP"] == "127.0.0.1:21005"
    assert specs["worker"].env["PABAL_FCM_ENDPOINT"] == "http://127.0.0.1:21008"
    for name in ("bootstrap", "broker", "bridge", "api", "worker"):
        assert specs[name].env["PABAL_MONGO_URL"] == "mongodb://127.0.0.1:21006/?replicaSet=pabal"
        assert specs[name].env["PABAL_VALKEY_URL"] == "redis://127.0.0.1:21007/0"
        assert (specs[name].env["PABAL_MQTT_HOST"], specs[name].env["PABAL_MQTT_PORT"]) == ("127.0.0.1", "21000")
    assert "21006" in specs["mongod"].argv
    assert "21007" in specs["valkey"].argv


def test_three_nodes_are_three_mongods_that_everybody_knows(state: State) -> None:
    plan = processes.plan(StackSettings(port_base=21000, mongo_nodes=3), state)
    specs = by_name(plan)
    nodes = {"mongod": ("21006", "mongo"), "mongod1": ("21011", "mongo1"), "mongod2": ("21012", "mongo2")}
    assert {name: str(address.port) for name, address in plan.mongo_nodes().items()} == {
        name: port for name, (port, _) in nodes.items()
    }
    for name, (port, directory) in nodes.items():
        assert {port, str(state.directory(directory))} <= set(specs[name].argv)
    assert {"mongo", "mongo1", "mongo2"} <= plan.ports()
    assert set(nodes) <= set(specs["bootstrap"].depends_on)
    url = "mongodb://127.0.0.1:21006,127.0.0.1:21011,127.0.0.1:21012/?replicaSet=pabal"
    assert {specs[name].env["PABAL_MONGO_URL"] for name in ("bootstrap", "broker", "bridge", "api", "worker")} == {url}


def test_one_node_takes_no_ports_of_others(state: State) -> None:
    plan = processes.plan(StackSettings(), state)
    assert not {"mongo1", "mongo2"} & plan.ports()
    assert list(plan.mongo_nodes()) == ["mongod"]


def test_data_of_three_nodes_are_not_run_with_one(state: State) -> None:
    data = state.directory("mongo2")
    data.mkdir(parents=True)
    (data / "WiredTiger").touch()
    with pytest.raises(StackFailed, match="--mongo-nodes 3"):
        up.run(StackSettings(state=state.root), Console(quiet=True))


def test_nobody_gets_a_secret_that_is_not_theirs(state: State) -> None:
    specs = by_name(processes.plan(StackSettings(), state))
    holders = {
        "PABAL_KEYS_DIR": {"bootstrap", "api"},
        "PABAL_SERVICES_DIR": {"bootstrap", "broker"},
        "PABAL_BROKER_ADMIN_SECRET_FILE": {"broker", "api"},
        "PABAL_LINK_SECRET_FILE": {"bridge", "api", "worker"},
    }
    for variable, expected in holders.items():
        assert {name for name, spec in specs.items() if variable in spec.env} == expected
    for name in ("bridge", "api", "worker"):
        assert specs[name].env["PABAL_LINK_SECRET_FILE"] == str(state.root / "services" / f"svc-{name}")


def test_servers_that_run_elsewhere_are_not_started(state: State) -> None:
    settings = StackSettings(mongo_url="mongodb://db.example/?replicaSet=rs", valkey_url="redis://cache.example/3")
    plan = processes.plan(settings, state)
    specs = by_name(plan)
    assert "mongod" not in specs
    assert "valkey" not in specs
    assert not plan.ports() & {"mongo", "valkey"}
    assert specs["api"].env["PABAL_MONGO_URL"] == "mongodb://db.example/?replicaSet=rs"
    assert specs["worker"].env["PABAL_VALKEY_URL"] == "redis://cache.example/3"


def test_without_the_emulator_pushes_are_what_the_environment_says(state: State) -> None:
    plan = processes.plan(StackSettings(fcm=False), state)
    assert "fcm" not in plan.ports()
    specs = by_name(plan)
    assert "fcm" not in specs
    assert not any(name.startswith("PABAL_FCM") for name in specs["worker"].env)


def test_a_broker_for_the_whole_network_is_reached_over_loopback(state: State) -> None:
    plan = processes.plan(StackSettings(broker_tcp="0.0.0.0:1883"), state)
    specs = by_name(plan)
    assert specs["broker"].env["PABAL_BROKER_TCP"] == "0.0.0.0:1883"
    assert specs["bridge"].env["PABAL_MQTT_HOST"] == "127.0.0.1"
    assert str(plan.binds["mqtt"]) == "0.0.0.0:1883", "the whole network's port is what must be free"


def test_servers_listen_on_loopback_and_keep_no_more_than_they_should(state: State) -> None:
    specs = by_name(processes.plan(StackSettings(), state))
    mongod, valkey = " ".join(specs["mongod"].argv), " ".join(specs["valkey"].argv)
    assert "--bind_ip 127.0.0.1" in mongod
    assert "--replSet pabal" in mongod
    assert "--bind 127.0.0.1" in valkey
    assert "--appendonly no" in valkey
    assert "--maxmemory-policy volatile-lru" in valkey


def test_with_a_certificate_the_broker_speaks_tls_too(
    state: State, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    files = {"broker_tls_cert": Path("chain.pem"), "broker_tls_key": Path("key.pem")}
    plan = processes.plan(StackSettings(port_base=21000, **files), state)
    env = by_name(plan)["broker"].env
    assert (env["PABAL_BROKER_TLS"], env["PABAL_BROKER_WSS"]) == ("127.0.0.1:21009", "127.0.0.1:21010")
    assert env["PABAL_BROKER_TLS_CERT"] == str(tmp_path / "chain.pem"), "children run in another directory"
    assert env["PABAL_BROKER_TLS_KEY"] == str(tmp_path / "key.pem")
    assert plan.ports() >= {"mqtts", "wss"}
    assert plan.certificate == tmp_path / "chain.pem"
    one = processes.plan(StackSettings(broker_wss=None, **files), state)
    assert by_name(one)["broker"].env["PABAL_BROKER_WSS"] == ""
    assert "wss" not in one.ports()


def test_without_a_certificate_it_does_not(state: State) -> None:
    plan = processes.plan(StackSettings(), state)
    assert not plan.ports() & {"mqtts", "wss"}
    assert not any(name.startswith("PABAL_BROKER_TLS") for name in by_name(plan)["broker"].env)
    assert plan.certificate is None
