"""Which variables leave nobody to trust: OpenSSL takes what both name, and passes over what it cannot use."""

import ssl
from pathlib import Path

import pytest

from consumer import tls
from scripts.servers.tls import Wallet

NOWHERE = "/nowhere"


@pytest.fixture
def hashed(wallet: Wallet, tmp_path: Path) -> Path:
    """Give a directory that holds the authority under a name as `openssl rehash` gives it."""
    (tmp_path / "0a1b2c3d.0").write_bytes(wallet.authority.read_bytes())
    return tmp_path


def test_one_of_two_variables_is_enough(wallet: Wallet, hashed: Path) -> None:
    """What the other names is missing, and is not missed."""
    file, directory = str(wallet.authority), str(hashed)
    assert tls.authority_faults({"SSL_CERT_FILE": file, "SSL_CERT_DIR": NOWHERE}) == []
    assert tls.authority_faults({"SSL_CERT_FILE": NOWHERE, "SSL_CERT_DIR": directory}) == []
    assert tls.authority_faults({"SSL_CERT_DIR": f"{NOWHERE}:{directory}"}) == []
    assert tls.authority_faults({"SSL_CERT_FILE": "", "SSL_CERT_DIR": ""}) == []


def test_a_file_beside_a_missing_directory_is_what_a_context_trusts(
    wallet: Wallet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenSSL itself says so."""
    monkeypatch.setenv("SSL_CERT_FILE", str(wallet.authority))
    monkeypatch.setenv("SSL_CERT_DIR", NOWHERE)
    assert tls.made().get_ca_certs() == ssl.create_default_context(cafile=wallet.authority).get_ca_certs()


def test_variables_that_name_nobody_are_all_told(tmp_path: Path) -> None:
    """A directory without hashed names is as good as none: OpenSSL looks for nothing else there."""
    (tmp_path / "ca.pem").write_text("")
    for directory in (NOWHERE, str(tmp_path)):
        found = tls.authority_faults({"SSL_CERT_FILE": NOWHERE, "SSL_CERT_DIR": directory})
        assert [name for name, _ in found] == ["SSL_CERT_FILE", "SSL_CERT_DIR"]
