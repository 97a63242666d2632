"""A certificate authority for labs: made when first asked, kept in a directory that nodes share.

CA_DIRECTORY/ca.pem     the authority's certificate, for clients to trust
             ca.key     its key
"""

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Final

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY: Final = "ca.pem"
AUTHORITY_KEY: Final = "ca.key"

LIFETIME: Final = timedelta(days=30)
"""Longer than any lab stands."""

CLOCK_SLACK: Final = timedelta(hours=1)
"""Certificates begin that much earlier, for clocks that are behind."""


def issue(
    authority: Path,
    directory: Path,
    *,
    names: Sequence[str],
    addresses: Sequence[IPv4Address | IPv6Address],
) -> tuple[Path, Path]:
    """Write a server's certificate and key into a directory.

    Args:
        authority: directory of the authority, which is made if there is none.
        directory: where to write.
        names: the server's host names, the first of which is its subject.
        addresses: the server's addresses.

    Returns:
        The files of the certificate and of its key.
    """
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    with _locked(authority):
        ca, ca_key = _authority(authority)
    key = ec.generate_private_key(ec.SECP256R1())
    certificate = (
        _builder(names[0], key, issuer=ca.subject, issuer_key=ca_key)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.SubjectAlternativeName(
                [*map(x509.DNSName, names), *map(x509.IPAddress, addresses)]
            ),
            critical=False,
        )
        .sign(ca_key, hashes.SHA256())
    )
    return (
        _write(directory / "server.pem", certificate.public_bytes(Encoding.PEM), mode=0o644),
        _write(directory / "server.key", _pem(key), mode=0o600),
    )


def _authority(directory: Path) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    path, key_path = directory / AUTHORITY, directory / AUTHORITY_KEY
    if path.exists():
        key = load_pem_private_key(key_path.read_bytes(), password=None)
        assert isinstance(key, ec.EllipticCurvePrivateKey)
        return x509.load_pem_x509_certificate(path.read_bytes()), key
    key = ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        (
            "digital_signature",
            "content_commitment",
            "key_encipherment",
            "data_encipherment",
            "key_agreement",
            "encipher_only",
            "decipher_only",
        ),
        False,
    )
    certificate = (
        _builder("kbwg lab authority", key, issuer=None, issuer_key=key)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, crl_sign=True, **usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    _write(key_path, _pem(key), mode=0o600)
    _write(path, certificate.public_bytes(Encoding.PEM), mode=0o644)
    return certificate, key


def _builder(
    subject: str,
    key: ec.EllipticCurvePrivateKey,
    *,
    issuer: x509.Name | None,
    issuer_key: ec.EllipticCurvePrivateKey,
) -> x509.CertificateBuilder:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(issuer or name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - CLOCK_SLACK)
        .not_valid_after(now + LIFETIME)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key()),
            critical=False,
        )
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def _write(path: Path, content: bytes, *, mode: int) -> Path:
    """Replace a file in one step: a reader sees all of it or nothing."""
    temporary = path.with_suffix(".new")
    temporary.touch(mode=mode)
    temporary.write_bytes(content)
    return temporary.replace(path)


@contextmanager
def _locked(directory: Path) -> Iterator[None]:
    """Keep out other servers that start at the same time."""
    handle = os.open(directory, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
