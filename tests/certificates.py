"""Certificates for tests of TLS: an authority of their own, and what it signs."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

DAY = timedelta(days=1)


@dataclass(frozen=True)
class Files:
    """A certificate and its key, as PEM files."""

    certificate: Path
    key: Path


class Authority:
    """Signs certificates for 127.0.0.1 and for clients. `file` is what those who trust it are given."""

    def __init__(self, directory: Path, name: str = "authority") -> None:
        self._directory = directory / name
        self._directory.mkdir()
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = _subject(name)
        built = _builder(self._name, self._name, self._key.public_key()).add_extension(
            x509.BasicConstraints(ca=True, path_length=0), critical=True
        )
        self.file = self._directory / "authority.pem"
        self.file.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))

    def sign(
        self,
        *names: str,
        file: str | None = None,
        expired: bool = False,
        password: bytes | None = None,
        uri: str | None = None,
    ) -> Files:
        """A certificate with these common names: usually one; `uri` is an alternative name."""
        key = ec.generate_private_key(ec.SECP256R1())
        built = _builder(_subject(*names), self._name, key.public_key(), expired=expired)
        address = x509.IPAddress(ipaddress.ip_address("127.0.0.1"))
        uris = [] if uri is None else [x509.UniformResourceIdentifier(uri)]
        built = built.add_extension(x509.SubjectAlternativeName([address, *uris]), False)
        stem = file or "-".join(names) or "nobody"
        made = Files(self._directory / f"{stem}.pem", self._directory / f"{stem}.key")
        made.certificate.write_bytes(built.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM))
        cipher = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        made.key.write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, cipher))
        return made


def _subject(*names: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name) for name in names])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, *, expired: bool = False
) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - 2 * DAY)
        .not_valid_after(now - DAY if expired else now + DAY)
    )
