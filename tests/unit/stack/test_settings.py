from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from stack import ports
from stack.settings import StackSettings

CERTIFICATE = Path("chain.pem")


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [port.setting for port in ports.TABLE]:
        monkeypatch.delenv(name, raising=False)
    for name in ("CERT", "KEY", "CLIENT_CA", "CLIENT_CERT"):
        monkeypatch.delenv(f"PABAL_BROKER_TLS_{name}", raising=False)


def test_every_port_of_the_table_is_a_setting(monkeypatch: pytest.MonkeyPatch) -> None:
    for number, port in enumerate(ports.TABLE):
        monkeypatch.setenv(port.setting, f"127.0.0.1:{30000 + number}")
    found = StackSettings(broker_tls_cert=CERTIFICATE).addresses()
    assert {name: address.port for name, address in found.items()} == {
        port.name: 30000 + number for number, port in enumerate(ports.TABLE)
    }


def test_defaults_are_those_of_the_table() -> None:
    found = StackSettings(broker_tls_cert=CERTIFICATE).addresses()
    assert {name: str(address) for name, address in found.items()} == {
        port.name: f"127.0.0.1:{port.default}" for port in ports.TABLE
    }


def test_ports_of_tls_are_taken_with_a_certificate_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_BROKER_TLS", "0.0.0.0:8883")
    monkeypatch.setenv("PABAL_BROKER_WSS", "")
    assert not StackSettings().addresses().keys() & {"mqtts", "wss"}
    monkeypatch.setenv("PABAL_BROKER_TLS_CERT", "chain.pem")
    found = StackSettings(port_base=21000).addresses()
    assert str(found["mqtts"]) == "0.0.0.0:21009"
    assert "wss" not in found


@pytest.mark.parametrize(
    ("authority", "mode", "shown"),
    [(None, None, False), ("ca.pem", None, True), ("ca.pem", "optional", False), ("ca.pem", "required", True)],
)
def test_whether_clients_show_certificates(authority: str | None, mode: str | None, shown: bool) -> None:
    fields = {"broker_tls_client_ca": authority, "broker_tls_client_cert": mode}
    assert StackSettings.model_validate(fields).clients_show_certificates() is shown


def test_a_port_base_beats_single_ports_and_keeps_their_hosts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_BROKER_TCP", "0.0.0.0:1883")
    found = StackSettings(port_base=21000).addresses()
    assert str(found["mqtt"]) == "0.0.0.0:21000"
    assert str(found["fcm"]) == "127.0.0.1:21008"


def test_the_port_base_can_be_an_environment_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PABAL_PORT_BASE", "22000")
    monkeypatch.setenv("PABAL_STATE", "/srv/다른곳")
    settings = StackSettings()
    assert settings.addresses()["api"].port == 22002
    assert settings.state == Path("/srv/다른곳")


@pytest.mark.parametrize("name", ["mongo_bind", "mongo1_bind", "mongo2_bind", "valkey_bind", "fcm_bind"])
def test_servers_without_a_password_stay_on_this_machine(name: str) -> None:
    with pytest.raises(ValidationError, match="loopback only"):
        StackSettings(**{name: "0.0.0.0:1234"})


def test_an_address_that_is_none_is_refused() -> None:
    with pytest.raises(ValidationError, match="host:port"):
        StackSettings(broker_tcp="1883")
