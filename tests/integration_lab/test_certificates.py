"""The labs' certificate authority."""

import stat
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509

from integration.certificates import issue

ADDRESSES = [ip_address("198.18.0.20"), ip_address("2001:db8:2::20")]


def issued(authority: Path, directory: Path) -> x509.Certificate:
    certificate, _ = issue(authority, directory, names=["turn.example"], addresses=ADDRESSES)
    return x509.load_pem_x509_certificate(certificate.read_bytes())


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    path = tmp_path / "authority"
    path.mkdir()
    return path


def test_a_certificate_names_the_server_in_every_way_it_is_reached(
    tmp_path: Path, authority: Path
) -> None:
    certificate = issued(authority, tmp_path / "server")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["turn.example"]
    assert names.get_values_for_type(x509.IPAddress) == ADDRESSES


def test_all_servers_share_one_authority(tmp_path: Path, authority: Path) -> None:
    certificates = [issued(authority, tmp_path / name) for name in ("one", "two")]
    ca = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    for certificate in certificates:
        certificate.verify_directly_issued_by(ca)
    assert certificates[0].public_key() != certificates[1].public_key()


def test_keys_are_for_their_owner_only(tmp_path: Path, authority: Path) -> None:
    issued(authority, tmp_path / "server")
    for key in (authority / "ca.key", tmp_path / "server" / "server.key"):
        assert stat.S_IMODE(key.stat().st_mode) == 0o600
