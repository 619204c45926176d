"""What runs: each child's command, environment, health and dependencies.

    mongod ─┬─► bootstrap ─┬─► broker ─┬─► bridge
    valkey ─┘              │           ├─► api
    fcm ───────────────────┘           └─► worker

The order of the list is the order of starting; ends come in reverse. With `--mongo-nodes 3` there are mongod1 and mongod2 beside
mongod; the first one's probe makes the set.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from stack import probes, replica_set, servers
from stack.ports import Address
from stack.probes import Probe
from stack.settings import SECURE, StackSettings
from stack.state import State

REPOSITORY = Path(__file__).resolve().parent.parent
"""Children run here: `python -m broker` then means the package beside this one, wherever the user stands."""


class Restart(StrEnum):
    """What the end of a process means."""

    ALWAYS = "always"
    """It should run: start it again, after a growing wait, for ever."""
    ONCE = "once"
    """It does something and ends with 0; anything else ends the stack."""


@dataclass(frozen=True, slots=True)
class ProcessSpec:
    """One child.

    Attributes:
        argv: the program and its arguments.
        env: variables beside those that the supervisor has itself.
        address: where it listens, for people to read.
        healthy: the probe that must pass before those that depend on it start; None for `Restart.ONCE`.
        stop_seconds: how long it may take to end after SIGTERM before it is killed.
    """

    name: str
    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    address: str | None = None
    healthy: Probe | None = None
    depends_on: tuple[str, ...] = ()
    restart: Restart = Restart.ALWAYS
    stop_seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Plan:
    """A stack that could be started: its processes in order, and where each of them is found.

    Attributes:
        binds: where they listen, per name of the port table.
        addresses: where clients on this machine reach them, per name of the port table.
        certificate: what the broker shows over TLS; None when it speaks none.
        clients_show_certificates: whether its clients have to show one as well.
    """

    specs: tuple[ProcessSpec, ...]
    binds: Mapping[str, Address]
    addresses: Mapping[str, Address]
    mongo_url: str
    valkey_url: str
    fcm: bool
    certificate: Path | None = None
    clients_show_certificates: bool = False

    def mongo_nodes(self) -> dict[str, Address]:
        """The mongods of this stack, by process name."""
        return {spec.name: self.addresses[_PORT_OF[spec.name]] for spec in self.specs if spec.name in MONGODS}

    def ports(self) -> set[str]:
        """The names of the port table that this stack listens on."""
        needed = {"mqtt", "ws", "api", "broker_http", "bridge_http", "worker_http", *SECURE} & set(self.binds)
        return needed | (set(_PORT_OF.values()) & {_PORT_OF.get(spec.name, "") for spec in self.specs})


MONGODS = tuple(name.replace("mongo", "mongod") for name in replica_set.NODES)
"""Process names of the mongods."""

_PORT_OF = {**dict(zip(MONGODS, replica_set.NODES, strict=True)), "valkey": "valkey", "fcm": "fcm"}


def plan(settings: StackSettings, state: State) -> Plan:
    """Decide what to run.

    Raises:
        BadPortBase: the ports don't fit.
        BinaryMissing: a server is wanted and is not there.
    """
    binds = settings.addresses()
    addresses = {name: address.reachable for name, address in binds.items()}
    mongo_url = settings.mongo_url or replica_set.url(_nodes(settings))
    valkey_url = settings.valkey_url or servers.valkey_url(addresses["valkey"])
    specs = [*_servers(settings, state, valkey_url)]
    if settings.fcm:
        specs.append(_fcm(settings, state))
    env = _Environment(settings, state, mongo_url, valkey_url)
    specs.extend(_processes(env, tuple(spec.name for spec in specs)))
    certificate = None if settings.broker_tls_cert is None else settings.broker_tls_cert.absolute()
    return Plan(
        tuple(specs),
        binds,
        addresses,
        mongo_url,
        valkey_url,
        settings.fcm,
        certificate,
        settings.clients_show_certificates(),
    )


def _nodes(settings: StackSettings) -> list[Address]:
    """Where clients find the mongods."""
    binds = settings.addresses()
    return [binds[name].reachable for name in replica_set.NODES[: settings.mongo_nodes]]


def _mongods(settings: StackSettings, state: State) -> list[ProcessSpec]:
    binary, binds, nodes = servers.find_mongod(), settings.addresses(), _nodes(settings)
    found: list[ProcessSpec] = []
    for process, name, node in zip(MONGODS, replica_set.NODES, nodes, strict=False):
        argv = servers.mongod_command(binary, state.directory(name), binds[name], cache_gb=settings.mongo_cache_gb)
        probe = probes.mongo_member(node) if found else probes.mongod(nodes)
        found.append(ProcessSpec(process, tuple(argv), address=f"mongodb://{node}", healthy=probe, stop_seconds=30.0))
    return found


def _servers(settings: StackSettings, state: State, valkey_url: str) -> list[ProcessSpec]:
    bind = settings.addresses()
    found = [] if settings.mongo_url else _mongods(settings, state)
    if settings.valkey_url is None:
        argv = servers.valkey_command(servers.find_valkey(), state.directory("valkey"), bind["valkey"])
        found.append(ProcessSpec("valkey", tuple(argv), address=valkey_url, healthy=probes.valkey(valkey_url)))
    return found


def _fcm(settings: StackSettings, state: State) -> ProcessSpec:
    bind = settings.addresses()["fcm"]
    argv = _module("stack.fcm_emulator", "--bind", str(bind), "--state", str(state.directory("fcm")))
    return ProcessSpec(
        "fcm",
        argv,
        {"PYTHONUNBUFFERED": "1"},
        f"http://{bind.reachable}",
        probes.healthz(bind.reachable),
        stop_seconds=5.0,
    )


def _module(name: str, *args: str) -> tuple[str, ...]:
    return (sys.executable, "-m", name, *args)


class _Environment:
    """The variables of each process: what it needs, and no secret of another's."""

    def __init__(self, settings: StackSettings, state: State, mongo_url: str, valkey_url: str) -> None:
        self.settings = settings
        self.state = state
        self.bind = settings.addresses()
        broker = self.bind["mqtt"].reachable
        self.common = {
            "PYTHONUNBUFFERED": "1",
            "PABAL_LOG_LEVEL": settings.log_level,
            "PABAL_LOG_FORMAT": settings.log_format,
            "PABAL_MONGO_URL": mongo_url,
            "PABAL_MONGO_DATABASE": settings.mongo_database,
            "PABAL_VALKEY_URL": valkey_url,
            "PABAL_MQTT_HOST": broker.host,
            "PABAL_MQTT_PORT": str(broker.port),
            "PABAL_JWKS_FILE": str(state.jwks),
        }

    def bootstrap(self) -> dict[str, str]:
        return {**self.common, **self._directories("keys", "services", "ca", "vapid")}

    def broker(self) -> dict[str, str]:
        return {
            **self.common,
            **self._tls(),
            **self._directories("services"),
            "PABAL_BROKER_TCP": str(self.bind["mqtt"]),
            "PABAL_BROKER_WS": str(self.bind["ws"]),
            "PABAL_BROKER_HTTP": str(self.bind["broker_http"]),
            "PABAL_BROKER_STATE": str(self.state.directory("broker") / "sessions"),
            "PABAL_BROKER_ADMIN_SECRET_FILE": str(self.state.broker_admin),
        }

    def _tls(self) -> dict[str, str]:
        """Files by their whole path: the broker stands in another directory than whoever named them."""
        settings = self.settings
        if settings.broker_tls_cert is None:
            return {}
        files = {
            "PABAL_BROKER_TLS_CERT": settings.broker_tls_cert,
            "PABAL_BROKER_TLS_KEY": settings.broker_tls_key,
            "PABAL_BROKER_TLS_CLIENT_CA": settings.broker_tls_client_ca,
        }
        mode = {}
        if settings.broker_tls_client_ca is None and settings.broker_tls_client_cert != "off":  # devices of our own
            files["PABAL_BROKER_TLS_CLIENT_CA"] = self.state.directory("ca") / "ca.pem"
            mode["PABAL_BROKER_TLS_CLIENT_CERT"] = settings.broker_tls_client_cert or "optional"
        return {
            **mode,
            "PABAL_BROKER_TLS": str(self.bind.get("mqtts", "")),
            "PABAL_BROKER_WSS": str(self.bind.get("wss", "")),
            **{name: str(file.absolute()) for name, file in files.items() if file is not None},
        }

    def bridge(self) -> dict[str, str]:
        return {**self._service("svc-bridge"), "PABAL_BRIDGE_HTTP": str(self.bind["bridge_http"])}

    def api(self) -> dict[str, str]:
        others = {name: f"http://{self.bind[f'{name}_http'].reachable}" for name in ("broker", "bridge", "worker")}
        return {
            **self._service("svc-api"),
            **self._directories("keys", "ca", "vapid"),
            **self._push_services(),
            "PABAL_API_BIND": str(self.bind["api"]),
            "PABAL_BROKER_ADMIN_URL": others["broker"],
            "PABAL_BROKER_ADMIN_SECRET_FILE": str(self.state.broker_admin),
            "PABAL_API_PROCESSES": json.dumps(others),
        }

    def worker(self) -> dict[str, str]:
        env = {
            **self._service("svc-worker"),
            **self._directories("vapid"),
            "PABAL_WORKER_HTTP": str(self.bind["worker_http"]),
            "PABAL_WORKER_STATE_DIR": str(self.state.directory("worker")),
        }
        if self.settings.fcm:
            env["PABAL_FCM_ENDPOINT"] = f"http://{self.bind['fcm'].reachable}"
            env["PABAL_FCM_SERVICE_ACCOUNT_FILE"] = str(self.state.directory("fcm") / "service-account.json")
        return env

    def _push_services(self) -> dict[str, str]:
        """With the emulator, browsers subscribe there and nowhere else."""
        return {"PABAL_API_WEB_PUSH_SERVICES": f"http://{self.bind['fcm'].reachable}"} if self.settings.fcm else {}

    def _service(self, principal: str) -> dict[str, str]:
        return {**self.common, "PABAL_LINK_SECRET_FILE": str(self.state.service_secret(principal))}

    def _directories(self, *names: str) -> dict[str, str]:
        return {f"PABAL_{name.upper()}_DIR": str(self.state.directory(name)) for name in names}


def _processes(env: _Environment, after: tuple[str, ...]) -> list[ProcessSpec]:
    """Our own processes, once the servers named in `after` are healthy."""
    bootstrap = _module("api.bootstrap", "--credentials", str(env.state.credentials))
    at = {name: address.reachable for name, address in env.bind.items()}
    health = {name: probes.healthz(at[name]) for name in ("broker_http", "bridge_http", "api", "worker_http")}
    broker_needs, service_needs = ("bootstrap",), ("broker",)
    return [
        ProcessSpec("bootstrap", bootstrap, env.bootstrap(), depends_on=after, restart=Restart.ONCE),
        ProcessSpec(
            "broker", _module("broker"), env.broker(), f"mqtt://{at['mqtt']}", health["broker_http"], broker_needs
        ),
        ProcessSpec(
            "bridge",
            _module("bridge"),
            env.bridge(),
            f"http://{at['bridge_http']}",
            health["bridge_http"],
            service_needs,
        ),
        ProcessSpec(
            "api", _module("api"), env.api(), f"http://{at['api']}", health["api"], service_needs, stop_seconds=15.0
        ),
        ProcessSpec(
            "worker",
            _module("workers"),
            env.worker(),
            f"http://{at['worker_http']}",
            health["worker_http"],
            service_needs,
        ),
    ]
