"""Credentials of devices, on memory and MongoDB."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from adapters.memory import memory_stores
from api.testing import Harness, User, running_api
from chat.errors import Unauthenticated


def csr() -> str:
    built = x509.CertificateSigningRequestBuilder().subject_name(x509.Name([]))
    signed = built.sign(ec.generate_private_key(ec.SECP256R1()), hashes.SHA256())
    return signed.public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture
async def house(api: Harness) -> tuple[Harness, User, User, dict[str, Any]]:
    """하늘 owns a thermometer; 바다 doesn't."""
    haneul, bada = await api.user("haneul"), await api.user("bada")
    made = (await haneul.post("/v1/devices", {"name": "거실 온도계", "id": "dev-1"})).json()
    return api, haneul, bada, made


House = tuple[Harness, User, User, dict[str, Any]]


async def comes_in(api: Harness, secret: str) -> bool:
    try:
        return (await api.parts.authenticator.authenticate("dev-1", secret.encode())).id == "dev-1"
    except Unauthenticated:
        return False


async def certified(api: Harness) -> bool:
    try:
        return (await api.parts.authenticator.certified("dev-1", None)).id == "dev-1"
    except Unauthenticated:
        return False


async def as_device(api: Harness, secret: str) -> User:
    form = {"grant_type": "client_credentials", "client_id": "dev-1", "client_secret": secret}
    answer = (await api.client.post("/v1/auth/token", data=form)).raise_for_status()
    return User(api.client, "dev-1", answer.json())


async def test_another_secret_ends_the_old_one(house: House) -> None:
    api, haneul, _, made = house
    device = await as_device(api, made["secret"])
    fresh = (await haneul.post("/v1/devices/dev-1/secret", {})).json()
    assert fresh == {**made, "secret": fresh["secret"]}
    assert not await comes_in(api, made["secret"])
    assert await comes_in(api, fresh["secret"])
    assert (await device.get("/v1/devices/dev-1")).json()["code"] == "signed_out"
    assert [(told.kind, told.user) for told in api.invalidations.published] == [("principal", "dev-1")]
    own = await as_device(api, fresh["secret"])
    renewed = (await own.post("/v1/devices/dev-1/secret", {})).json()
    assert await comes_in(api, renewed["secret"])


async def test_a_disabled_device_is_out_whatever_it_shows(house: House) -> None:
    api, haneul, _, made = house
    device = await as_device(api, made["secret"])
    changed = await haneul.call("PATCH", "/v1/devices/dev-1", json={"disabled": True})
    assert (changed.status_code, changed.json()["disabled"]) == (200, True)
    assert [(told.kind, told.user) for told in api.invalidations.published] == [("principal", "dev-1")]
    assert not await comes_in(api, made["secret"])
    assert not await certified(api)
    assert (await device.get("/v1/devices/dev-1")).json()["code"] == "signed_out"
    refused = await haneul.post("/v1/devices/dev-1/certificates", {"csr": csr()})
    assert (refused.status_code, refused.json()["code"]) == (403, "device_disabled")
    form = {"grant_type": "client_credentials", "client_id": "dev-1", "client_secret": made["secret"]}
    assert (await api.client.post("/v1/auth/token", data=form)).json()["code"] == "invalid_client"
    again = await haneul.call("PATCH", "/v1/devices/dev-1", json={"disabled": False, "name": "안방 온도계"})
    assert again.json()["name"] == "안방 온도계"
    assert await comes_in(api, made["secret"])
    assert (await haneul.get("/v1/devices")).json()["items"] == [again.json()]


async def test_owner_and_device_enrol(house: House) -> None:
    api, haneul, _, made = house
    for who in (haneul, await as_device(api, made["secret"])):
        answer = await who.post("/v1/devices/dev-1/certificates", {"csr": csr()})
        assert answer.status_code == 201, answer.text
        certificate = x509.load_pem_x509_certificate(answer.json()["certificate"].encode())
        assert certificate.subject.rfc4514_string() == "CN=dev-1"
        certificate.verify_directly_issued_by(x509.load_pem_x509_certificate(answer.json()["authority"].encode()))
    refused = await haneul.post("/v1/devices/dev-1/certificates", {"csr": "x"})
    assert (refused.status_code, refused.json()["code"]) == (422, "invalid_csr")


async def test_other_peoples_devices_look_like_none(house: House) -> None:
    api, _, bada, made = house
    await bada.post("/v1/devices", {"name": "다른 온도계", "id": "dev-2"})
    device = await as_device(api, made["secret"])
    for method, path, body in [
        ("GET", "", None),
        ("PATCH", "", {"disabled": True}),
        ("POST", "/secret", {}),
        ("POST", "/certificates", {"csr": csr()}),
    ]:
        for who, foreign in ((bada, "dev-1"), (device, "dev-2")):
            if who is device and method == "PATCH":
                continue  # for people only
            answers = [
                await who.call(method, f"/v1/devices/{name}{path}", json=body)
                for name in (foreign, "dev-9", "svc-api", "haneul")
            ]
            assert {(answer.status_code, answer.json()["code"]) for answer in answers} == {(404, "unknown_device")}
            assert len({answer.json()["detail"] for answer in answers}) == 1
    assert await comes_in(api, made["secret"])
    assert (await device.call("PATCH", "/v1/devices/dev-1", json={"disabled": True})).status_code == 403


async def test_an_installation_without_an_authority(tmp_path: Path) -> None:
    async with running_api(tmp_path, memory_stores(), ca_dir=None) as api:
        haneul = await api.user("haneul")
        await haneul.post("/v1/devices", {"name": "온도계", "id": "dev-1"})
        answer = await haneul.post("/v1/devices/dev-1/certificates", {"csr": csr()})
        assert (answer.status_code, answer.json()["code"]) == (404, "no_authority")
