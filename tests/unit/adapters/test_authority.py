"""The authority signs what a device may have, and nothing else."""

from __future__ import annotations

import stat
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters.authority import CERTIFICATE, KEY, MAX_REQUEST, Authority, ensure_authority
from chat.errors import BadInput, Unavailable

DEVICE = "dev-livingroom"
NOW = datetime(2027, 1, 1, tzinfo=UTC)


def request(key: Any, *names: str, ca: bool = False) -> str:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])
    built = x509.CertificateSigningRequestBuilder().subject_name(subject)
    if ca:
        built = built.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        alternative = x509.SubjectAlternativeName([x509.DNSName("pabal.example")])
        built = built.add_extension(alternative, critical=False)
    plain = isinstance(key, ed25519.Ed25519PrivateKey | ed448.Ed448PrivateKey)
    return built.sign(key, None if plain else hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()


@pytest.fixture(scope="module")
def directory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("ca") / "ca"
    assert ensure_authority(made)
    return made


@pytest.fixture
def authority(directory: Path) -> Authority:
    return Authority(directory, days=90, now=lambda: NOW)


@pytest.mark.parametrize(
    "key",
    [
        ec.generate_private_key(ec.SECP256R1()),
        ec.generate_private_key(ec.SECP384R1()),
        ed25519.Ed25519PrivateKey.generate(),
        rsa.generate_private_key(65537, 2048),
    ],
    ids=lambda key: type(key).__name__,
)
def test_a_certificate_names_the_device_and_is_for_clients_only(
    authority: Authority, directory: Path, key: Any
) -> None:
    issued = authority.issue(DEVICE, request(key))
    certificate = x509.load_pem_x509_certificate(issued.certificate.encode())
    signer = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
    certificate.verify_directly_issued_by(signer)
    assert issued.authority == (directory / CERTIFICATE).read_text()
    assert certificate.public_key() == key.public_key()
    assert certificate.subject.rfc4514_string() == f"CN={DEVICE}"
    extensions = certificate.extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    usage = extensions.get_extension_for_class(x509.ExtendedKeyUsage).value
    assert list(usage) == [ExtendedKeyUsageOID.CLIENT_AUTH]
    assert not extensions.get_extension_for_class(x509.KeyUsage).value.key_cert_sign
    assert issued.expires_at == certificate.not_valid_after_utc == NOW + timedelta(days=90)
    assert int(issued.serial, 16) == certificate.serial_number


def test_what_a_request_wishes_beside_its_key_is_not_granted(authority: Authority) -> None:
    issued = authority.issue(DEVICE, request(ec.generate_private_key(ec.SECP256R1()), DEVICE, ca=True))
    extensions = x509.load_pem_x509_certificate(issued.certificate.encode()).extensions
    assert extensions.get_extension_for_class(x509.BasicConstraints).value.ca is False
    names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == []


def tampered() -> str:
    """Somebody else's key in a request that they have not signed."""
    one = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())).encode())
    other = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1())).encode())
    der = one.public_bytes(serialization.Encoding.DER)
    form = serialization.PublicFormat.SubjectPublicKeyInfo
    keys = [found.public_key().public_bytes(serialization.Encoding.DER, form) for found in (one, other)]
    assert keys[0] in der
    forged = x509.load_der_x509_csr(der.replace(keys[0], keys[1]))
    return forged.public_bytes(serialization.Encoding.PEM).decode()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "안녕",
        "\ud800",
        "x" * (MAX_REQUEST + 1),
        "-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n",
        request(ec.generate_private_key(ec.SECP256R1()), "svc-bridge"),
        request(ec.generate_private_key(ec.SECP256R1()), "dev-other"),
        request(ec.generate_private_key(ec.SECP256R1()), DEVICE, "svc-bridge"),
        request(ec.generate_private_key(ec.SECP256K1())),
        request(rsa.generate_private_key(65537, 1024)),  # noqa: S505 - weak on purpose
        request(dsa.generate_private_key(1024)),  # noqa: S505 - likewise
        request(ed448.Ed448PrivateKey.generate()),
        tampered(),
    ],
    ids=range(14),
)
def test_requests_that_are_not_taken(authority: Authority, text: str) -> None:
    with pytest.raises(BadInput) as caught:
        authority.issue(DEVICE, text)
    assert caught.value.code == "invalid_csr"


def test_a_certificate_does_not_outlive_its_signer(directory: Path) -> None:
    late = Authority(directory, days=90, now=lambda: datetime.now(UTC) + timedelta(days=3640))
    issued = late.issue(DEVICE, request(ec.generate_private_key(ec.SECP256R1())))
    signer = x509.load_pem_x509_certificate(issued.authority.encode())
    assert issued.expires_at == signer.not_valid_after_utc


def test_the_key_is_its_owners(directory: Path) -> None:
    assert stat.S_IMODE((directory / KEY).stat().st_mode) == 0o600
    assert not ensure_authority(directory)


@pytest.mark.parametrize("missing", [CERTIFICATE, KEY])
def test_half_an_authority_is_none(tmp_path: Path, missing: str) -> None:
    ensure_authority(tmp_path)
    (tmp_path / missing).unlink()
    with pytest.raises(Unavailable, match=missing):
        ensure_authority(tmp_path)
    with pytest.raises(Unavailable):
        Authority(tmp_path, days=1)


def test_the_key_of_another_authority_is_told(tmp_path: Path) -> None:
    for name in ("one", "two"):
        ensure_authority(tmp_path / name)
    (tmp_path / "one" / KEY).write_bytes((tmp_path / "two" / KEY).read_bytes())
    with pytest.raises(Unavailable, match="not the certificate's"):
        Authority(tmp_path / "one", days=1)
