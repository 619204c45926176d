"""A thermometer enrols over REST and comes in with its certificate, on the real stack with TLS; disabled, it is cut at once."""

from __future__ import annotations

import secrets
import ssl
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from chat import topics
from mqtt.codec import encode
from mqtt.packets import ConnAck, Connect, Disconnect, PubAck, Publish
from mqtt.reasons import Reason
from stack.testing import RunningStack
from tests.certificates import Authority
from tests.conftest import Stacks
from tests.wire.conftest import Wire

pytestmark = pytest.mark.e2e


class Thing:
    """A device with a key of its own."""

    def __init__(self, directory: Path, stack: RunningStack, authority: Authority) -> None:
        self.directory, self.stack, self.authority = directory, stack, authority
        self.http = httpx.Client(base_url=stack.info["api"], timeout=30, trust_env=False)
        owner = f"haneul-{secrets.token_hex(3)}"
        password = "역참의 온도를 잰다"
        wish = {"handle": owner, "password": password, "display_name": "하늘"}
        self.http.post("/v1/auth/register", json=wish).raise_for_status()
        self.owner = self.bearer(grant_type="password", username=owner, password=password)
        self.id = f"dev-{secrets.token_hex(4)}"
        made = self.http.post("/v1/devices", headers=self.owner, json={"name": "온도계", "id": self.id})
        self.secret: str = made.raise_for_status().json()["secret"]
        self.path = f"/v1/devices/{self.id}"

    def bearer(self, **form: str) -> dict[str, str]:
        answer = self.http.post("/v1/auth/token", data=form).raise_for_status()
        return {"Authorization": f"Bearer {answer.json()['access_token']}"}

    def enrol(self, name: str = "") -> httpx.Response:
        """As the device itself, with a token for its secret."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = [x509.NameAttribute(NameOID.COMMON_NAME, name)] if name else []
        request = x509.CertificateSigningRequestBuilder().subject_name(x509.Name(subject)).sign(key, hashes.SHA256())
        pem = request.public_bytes(serialization.Encoding.PEM).decode()
        token = self.bearer(grant_type="client_credentials", client_id=self.id, client_secret=self.secret)
        answer = self.http.post(f"{self.path}/certificates", headers=token, json={"csr": pem})
        if answer.is_success:
            form = serialization.PrivateFormat.PKCS8
            private = key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption())
            (self.directory / "thing.pem").write_bytes(private + answer.json()["certificate"].encode())
        return answer

    def connect(self, *, certificate: Path | None = None, **fields: Any) -> tuple[Wire, ConnAck]:
        """Over mqtts, with its certificate unless another is given."""
        context = ssl.create_default_context(cafile=str(self.authority.file))
        context.load_cert_chain(certificate or self.directory / "thing.pem")
        tls = self.stack.info["tls"]
        assert tls is not None
        wire = Wire(int(str(tls["mqtts_url"]).rsplit(":", 1)[1]), version=5)
        wire.sock = context.wrap_socket(wire.sock, server_hostname="127.0.0.1")
        wire.send(encode(Connect(**{"client_id": self.id, "clean_start": True, **fields}), 5))
        answer = wire.read()
        assert isinstance(answer, ConnAck)
        return wire, answer


@pytest.fixture(scope="module")
def thing(module_stacks: Stacks, tmp_path_factory: pytest.TempPathFactory) -> Thing:
    directory = tmp_path_factory.mktemp("thing")
    authority = Authority(directory)
    files = authority.sign("pabal.example")
    env = {"PABAL_BROKER_TLS_CERT": str(files.certificate), "PABAL_BROKER_TLS_KEY": str(files.key)}
    return Thing(directory, module_stacks(env=env), authority)


def test_the_life_of_a_certificate(thing: Thing) -> None:
    refused = thing.enrol("svc-bridge")
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_csr")
    assert thing.enrol().status_code == 201
    wire, answer = thing.connect()
    assert answer.reason == 0
    wire.send(encode(Publish(topics.telemetry(thing.id, "temperature"), b"21.5", 1, packet_id=1), 5))
    acknowledged = wire.read()
    assert isinstance(acknowledged, PubAck)
    assert acknowledged.reason < 0x80
    _, other = thing.connect(client_id="dev-other")
    assert other.reason == Reason.CLIENT_IDENTIFIER_NOT_VALID
    _, named = thing.connect(username="svc-bridge")
    assert named.reason == Reason.BAD_USER_NAME_OR_PASSWORD
    switch = thing.http.patch(thing.path, headers=thing.owner, json={"disabled": True})
    assert switch.raise_for_status().json()["disabled"]
    goodbye = wire.read()
    assert isinstance(goodbye, Disconnect)
    assert goodbye.reason == Reason.NOT_AUTHORIZED
    wire.ended()
    _, again = thing.connect()
    assert again.reason == Reason.BAD_USER_NAME_OR_PASSWORD
    thing.http.patch(thing.path, headers=thing.owner, json={"disabled": False}).raise_for_status()
    _, back = thing.connect()
    assert back.reason == 0


def test_a_certificate_of_somebody_elses_authority_does_not_come_in(thing: Thing) -> None:
    foreign = Authority(thing.directory, "foreign").sign(thing.id)
    both = thing.directory / "foreign.pem"
    both.write_bytes(foreign.certificate.read_bytes() + foreign.key.read_bytes())
    with pytest.raises((ssl.SSLError, ConnectionResetError, EOFError)):
        thing.connect(certificate=both)
