"""Our own certificate authority: it signs client certificates of devices, with which they sign in to the broker over TLS.

| file in its directory | what |
|---|---|
| `ca.pem` | its certificate, which brokers trust for clients |
| `ca.key` | its private key (PKCS 8, mode 0600): whoever has it can be any device |

A certificate names one device (the subject's common name, and `urn:pabal:device:…`), is for clients only (RFC 5280 §4.2.1.12) and is
short-lived. There is no revocation list: the broker asks with every connection whether the device is disabled.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from adapters.secret_files import PUBLIC, write_file
from chat.errors import BadInput, Unavailable

CERTIFICATE = "ca.pem"
KEY = "ca.key"

AUTHORITY_DAYS = 10 * 365
"""Devices in the field outlive most things; a new authority can stand beside the old one in the broker's file."""

BACKDATED = timedelta(minutes=5)
"""A device's clock may be behind ours."""

MAX_REQUEST = 16 * 1024
"""Characters of a certificate request; one with a 4,096-bit RSA key has 1,700."""

_RSA_BITS = range(2048, 4097)
_Key = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey


@dataclass(frozen=True, slots=True)
class Issued:
    """A new certificate.

    Attributes:
        certificate: PEM.
        authority: the certificate of who signed it, PEM.
        serial: in hexadecimal.
    """

    certificate: str
    authority: str
    serial: str
    expires_at: datetime


def ensure_authority(directory: Path) -> bool:
    """Make an authority if there is none; whether one was made.

    Raises:
        Unavailable: one half of it is there and the other is not.
    """
    there = [(directory / name).exists() for name in (CERTIFICATE, KEY)]
    if all(there):
        return False
    if any(there):
        raise Unavailable(f"the authority in {directory} lacks {KEY if there[0] else CERTIFICATE}")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"Pabal devices {secrets.token_hex(4)}")])
    now = datetime.now(UTC)
    usage = _usage(signs_certificates=True)
    built = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATED)
        .not_valid_after(now + timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    certificate = built.sign(key, hashes.SHA256())
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    write_file(directory / KEY, private)
    write_file(directory / CERTIFICATE, certificate.public_bytes(serialization.Encoding.PEM), mode=PUBLIC)
    return True


class Authority:
    """Signs certificates of devices.

    Args:
        directory: where its files are; read once.
        days: how long a certificate is valid.
        now: the time, UTC.

    Raises:
        Unavailable: the files can't be used.
    """

    def __init__(self, directory: Path, *, days: int, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        try:
            self._certificate = x509.load_pem_x509_certificate((directory / CERTIFICATE).read_bytes())
            key = serialization.load_pem_private_key((directory / KEY).read_bytes(), password=None)
        except (OSError, ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise Unavailable(f"the authority in {directory} can't be used: {type(error).__name__}") from error
        if not isinstance(key, ec.EllipticCurvePrivateKey) or key.public_key() != self._certificate.public_key():
            raise Unavailable(f"the authority in {directory} can't be used: the key is not the certificate's")
        self._key = key
        self._days = days
        self._now = now

    def issue(self, device: str, request: str) -> Issued:
        """A certificate for a device, on its own key.

        Args:
            device: its id, which the certificate names whatever the request says.
            request: a certificate request (PKCS 10, PEM), signed by the key that it is about.

        Raises:
            BadInput: `invalid_csr`.
        """
        key = _checked(device, request)
        now = self._now()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, device)])
        alternative = x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"urn:pabal:device:{device}")])
        authority_key = self._key.public_key()
        built = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - BACKDATED)
            .not_valid_after(min(now + timedelta(days=self._days), self._certificate.not_valid_after_utc))
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
            .add_extension(alternative, critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key), critical=False)
        )
        certificate = built.sign(self._key, hashes.SHA256())
        return Issued(
            certificate=_pem(certificate),
            authority=_pem(self._certificate),
            serial=f"{certificate.serial_number:x}",
            expires_at=certificate.not_valid_after_utc,
        )


def _checked(device: str, request: str) -> _Key:
    """The key of a request that holds together."""
    if len(request) > MAX_REQUEST:
        raise _invalid("it is too long")
    try:
        found = x509.load_pem_x509_csr(request.encode("utf-8", "replace"))
        key = found.public_key()
        names = [str(one.value) for one in found.subject.get_attributes_for_oid(NameOID.COMMON_NAME)]
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise _invalid("it can't be read: send a PKCS 10 request in PEM form") from None
    strong = _strong(key)
    if names not in ([], [device]):
        raise _invalid("its common name is another than the device's id; leave the subject empty")
    try:
        proved = found.is_signature_valid
    except (InvalidSignature, UnsupportedAlgorithm, ValueError):
        proved = False
    if not proved:
        raise _invalid("it is not signed by the key that it is about")
    return strong


def _strong(key: object) -> _Key:
    """The key, if it is of a kind and size that we sign; before anything is computed with it."""
    match key:
        case rsa.RSAPublicKey() if key.key_size in _RSA_BITS:
            return key
        case ec.EllipticCurvePublicKey() if isinstance(key.curve, ec.SECP256R1 | ec.SECP384R1):
            return key
        case ed25519.Ed25519PublicKey():
            return key
        case _:
            raise _invalid("the key is one of P-256, P-384, Ed25519, or RSA with 2,048 to 4,096 bits")


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(serialization.Encoding.PEM).decode("ascii")


def _invalid(why: str) -> BadInput:
    return BadInput(f"the certificate request is not taken: {why}", code="invalid_csr")
