"""`pabal doctor`: is each part there, does it work, and what to do about it when it does not."""

from __future__ import annotations

import os
import shutil
import ssl
import stat
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
import psutil
from paho.mqtt.client import Client
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.reasoncodes import ReasonCode

from stack import credentials, lock, ports, probes, processes, replica_set, servers
from stack.ports import Address
from stack.settings import StackSettings
from stack.state import StackFile, State, node_addresses

LOW_DISK_GB = 2.0
"""mongod stops writing when the disk is full; its journal and oplog alone take 1.5 GB."""

MQTT_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Check:
    """One part. `advice` is None when it is fine."""

    name: str
    detail: str
    advice: str | None = None

    @property
    def ok(self) -> bool:
        """Nothing to do here."""
        return self.advice is None


def examine(settings: StackSettings) -> Iterator[Check]:
    """Every check, one after the other: first the machine, then the stack that runs on this state directory."""
    state = State.at(settings.state)
    yield _python()
    yield from _binaries(settings)
    yield _disk(state)
    yield from _secrets(state)
    pid = lock.holder(state.lock)
    found = state.read_stack()
    if pid is None:
        yield from _ports(settings, state)
        yield Check(
            "stack", f"nothing runs on {state.root}", "start it with `pabal up` (or name its directory with --state)"
        )
    elif found is None:
        advice = f"it is starting, or a part of it can't: see its terminal, and the files in {state.root / 'log'}"
        yield Check("stack", f"pid {pid} has not become healthy yet", advice)
    else:
        yield Check("stack", f"pid {pid}, up since {found['started_at']}")
        yield from _running(state, found)


def _python() -> Check:
    version = ".".join(str(part) for part in sys.version_info[:3])
    if sys.version_info < (3, 11):  # noqa: UP036 -- who runs the doctor may have installed it by hand
        return Check("python", version, "Pabal needs Python 3.11 or later")
    return Check("python", f"{version} at {sys.executable}")


def _binaries(settings: StackSettings) -> Iterator[Check]:
    wanted = (
        ("mongod binary", settings.mongo_url, "PABAL_MONGO_URL", servers.find_mongod),
        ("valkey binary", settings.valkey_url, "PABAL_VALKEY_URL", servers.find_valkey),
    )
    for name, outside, setting, find in wanted:
        if outside:
            yield Check(name, f"not needed: {setting} is set")
            continue
        try:
            yield Check(name, str(find()))
        except servers.BinaryMissing as missing:
            yield Check(name, "missing", str(missing))


def _disk(state: State) -> Check:
    existing = next(path for path in (state.root, *state.root.parents) if path.exists())
    free = shutil.disk_usage(existing).free / 1e9
    advice = f"make room on the disk of {existing}: {LOW_DISK_GB:g} GB should be free" if free < LOW_DISK_GB else None
    return Check("disk", f"{free:.1f} GB free at {existing}", advice)


def _secrets(state: State) -> Iterator[Check]:
    """Keys and passwords: there, and nobody else's business."""
    files = [state.credentials, *state.directory("keys").glob("*.json"), *state.directory("services").glob("*")]
    present = [path for path in files if path.is_file()]
    if not present:
        yield Check("keys", "none yet: the first `pabal up` makes them")
        return
    loose = [path for path in present if stat.S_IMODE(path.stat().st_mode) & 0o077]
    if loose:
        names = " ".join(str(path) for path in loose)
        yield Check("keys", f"{len(loose)} of {len(present)} files can be read by others", f"run: chmod 600 {names}")
    else:
        yield Check("keys", f"{len(present)} files, readable by their owner only")


def _ports(settings: StackSettings, state: State) -> Iterator[Check]:
    try:
        plan = processes.plan(settings, state)
    except (servers.BinaryMissing, ports.BadPortBase) as error:
        yield Check("ports", "not known", str(error))
        return
    taken = ports.busy(plan.binds, plan.ports())
    for port in taken:
        yield Check("ports", f"{port.address} is busy", str(port))
    if not taken:
        yield Check(
            "ports", ", ".join(str(plan.binds[name].port) for name in plan.binds if name in plan.ports()) + " are free"
        )


def _running(state: State, found: StackFile) -> Iterator[Check]:
    for name, pid in found["processes"].items():
        yield _process(state, name, pid)
    mongo, valkey = probes.mongo(found["mongo_url"]), probes.valkey(found["valkey_url"])
    yield _probe("mongo", found["mongo_url"], mongo, "see the log of mongod; a replica set needs a primary to write")
    yield from _nodes(found)
    yield _probe(
        "valkey", found["valkey_url"], valkey, "see the log of valkey; without it pushes and presence stand still"
    )
    for name, url in found["metrics"].items():
        address = Address.parse(urlsplit(url).netloc)
        advice = f"see {state.log(name)}, or `pabal logs {name} -f`"
        yield _probe(name, f"http://{address}/healthz", probes.healthz(address), advice)
    sign_in = SignIn(state, found)
    yield sign_in.check()
    yield sign_in.mqtt("broker TCP", "tcp")
    yield sign_in.mqtt("broker WebSocket", "websockets")
    yield from _secure(found, sign_in)


def _secure(found: StackFile, sign_in: SignIn) -> Iterator[Check]:
    """Over TLS, whose certificate must be the one in the file and must be valid now; its names are for those outside."""
    tls = found["tls"]
    if tls is None:
        return
    urls = {"broker TLS": tls["mqtts_url"], "broker secure WebSocket": tls["wss_url"]}
    for name, url in urls.items():
        if url is not None and tls["clients_show_certificates"]:
            yield Check(name, f"{url} not tried: clients have to show a certificate")
        elif url is not None:
            yield sign_in.secure(name, url, tls["certificate"])


def _nodes(found: StackFile) -> Iterator[Check]:
    """Each mongod of ours, if there is more than one: the set as a whole may work without one of them."""
    names = {address: name for name, address in found["mongo_nodes"].items()}
    if len(names) < 2:
        return
    for one in replica_set.members(node_addresses(found)):
        name = names.get(one.host, one.host)
        advice = (
            f"two of three must work; see `pabal logs {name} -f`; a node that was away for long copies everything first"
        )
        yield Check(f"node {name}", f"{one.host} is {one.state}", None if one.well else advice)


def _process(state: State, name: str, pid: int) -> Check:
    if psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        return Check(f"process {name}", f"pid {pid}")
    return Check(
        f"process {name}",
        f"pid {pid} is gone",
        f"it is being started again; if that does not help, see {state.log(name)}",
    )


def _probe(name: str, where: str, probe: probes.Probe, advice: str) -> Check:
    problem = probe()
    return Check(name, where) if problem is None else Check(name, problem, advice)


class SignIn:
    """Signs in as the first demo user, as an app would, and connects with that token."""

    def __init__(self, state: State, found: StackFile) -> None:
        self._found = found
        self._path = state.credentials
        self._handle = ""
        self._token: str | None = None

    def check(self) -> Check:
        """The API takes the user's password and answers with a token."""
        advice = f"the API says no to a user of {self._path}: see its log; a database without that user needs another --state"
        try:
            user = credentials.read(self._path)["users"][0]
        except (OSError, ValueError, LookupError) as error:
            return Check(
                "sign-in",
                f"{self._path} can't be read: {type(error).__name__}",
                "end the stack, remove it, start again",
            )
        self._handle = user["handle"]
        form = {"grant_type": "password", "username": user["handle"], "password": user["password"]}
        try:
            answer = httpx.post(f"{self._found['api']}/v1/auth/token", data=form, timeout=5.0, trust_env=False)
        except httpx.HTTPError as error:
            return Check("sign-in", f"no answer: {type(error).__name__}", "see the log of the api")
        if not answer.is_success:
            return Check("sign-in", f"the API answers {answer.status_code}", advice)
        self._token = answer.json()["access_token"]
        return Check("sign-in", f"{self._handle} has a token")

    def mqtt(self, name: str, transport: Any) -> Check:
        """The broker takes the token and answers CONNACK 0."""
        url = urlsplit(self._found["ws_url"])
        tcp = transport == "tcp"
        host, port = (self._found["mqtt_host"], self._found["mqtt_port"]) if tcp else (url.hostname, url.port)
        where = f"{host}:{port}" if tcp else self._found["ws_url"]
        return self._connects(name, where, str(host), int(port or 0), transport)

    def secure(self, name: str, where: str, certificate: str) -> Check:
        """The same over TLS, with whoever holds the key of `certificate` and with nobody else."""
        url = urlsplit(where)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(certificate)
        except OSError as error:
            return Check(name, f"{certificate} can't be read: {error.strerror or error}", "see PABAL_BROKER_TLS_CERT")
        transport = "websockets" if url.scheme == "wss" else "tcp"
        return self._connects(name, where, str(url.hostname), int(url.port or 0), transport, context)

    def _connects(
        self, name: str, where: str, host: str, port: int, transport: Any, tls: ssl.SSLContext | None = None
    ) -> Check:
        if self._token is None:
            return Check(name, "not tried: nobody could sign in", "mend the sign-in first")
        reason = _connack(host, port, transport, self._handle, self._token, tls)
        if reason == "Success":
            return Check(name, f"{where} let {self._handle} in")
        return Check(name, f"{where}: {reason}", "see the log of the broker")


def _connack(host: str, port: int, transport: Any, handle: str, token: str, tls: ssl.SSLContext | None) -> str:
    """The reason of the CONNACK, or what came instead of one."""
    answered = threading.Event()
    reasons = ["no CONNACK in time"]

    def on_connect(client: Client, userdata: Any, flags: Any, reason: ReasonCode, properties: Any) -> None:
        del client, userdata, flags, properties
        reasons.append(str(reason))
        answered.set()

    client = Client(
        CallbackAPIVersion.VERSION2,
        client_id=f"{handle}:doctor-{os.getpid()}",
        protocol=MQTTProtocolVersion.MQTTv5,
        transport=transport,
    )
    client.ws_set_options(path="/mqtt")
    if tls is not None:
        client.tls_set_context(tls)
    client.username_pw_set(handle, token)
    client.on_connect = on_connect
    try:
        client.connect(host, port)
        client.loop_start()
        answered.wait(MQTT_SECONDS)
    except ssl.SSLCertVerificationError as error:
        return f"its certificate: {error.verify_message}"
    except OSError as error:
        return f"no connection: {error.strerror or type(error).__name__}"
    finally:
        client.disconnect()
        client.loop_stop()
    return reasons[-1]
