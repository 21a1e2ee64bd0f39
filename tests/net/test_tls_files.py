"""Certificates and keys in files: what is taken, and what is said of what cannot be used."""

from __future__ import annotations

import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.authority import Authority, Identity
from zdm.net.tls_files import TlsFile, TlsFileError, TlsMaterial, TlsPaths, client_context, cluster_context, read

CA = Authority()
IDENTITY = CA.sign("127.0.50.5")


class Files:
    """The files of one end, in a directory of the test's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def file(self, key: str, content: bytes | None) -> TlsFile:
        path = self.directory / key.lower()
        if content is not None:
            path.write_bytes(content)
        return TlsFile(key, str(path))

    def paths(self, certificate: bytes | None, private_key: bytes | None, passphrase: bytes | None = None) -> TlsPaths:
        return TlsPaths(
            self.file("CA", CA.pem()),
            self.file("CERT", certificate),
            self.file("KEY", private_key),
            None if passphrase is None else self.file("PASS", passphrase),
            "PASS_FILE",
        )


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(tmp_path)


def fault(paths: TlsPaths) -> str:
    with pytest.raises(TlsFileError) as caught:
        read(paths)
    return str(caught.value).replace(os.path.dirname(paths.authorities.path), "")


def is_usable(material: TlsMaterial) -> bool:
    """Whether OpenSSL takes it, for either kind of end."""
    client_context(material, True)
    cluster_context(material, True)
    return True


def test_pem_is_taken(files: Files) -> None:
    """What the reference takes."""
    material, validity = read(files.paths(IDENTITY.pem(), IDENTITY.key_pem()))
    assert material.chain == IDENTITY.pem() and is_usable(material)
    assert validity.own == (IDENTITY.certificate.not_valid_before_utc, IDENTITY.certificate.not_valid_after_utc)


def test_a_cluster_needs_no_certificate_of_ours(files: Files) -> None:
    """One-way TLS."""
    material, validity = read(TlsPaths(files.file("CA", CA.pem())))
    assert (material.chain, material.key) == (b"", b"")
    assert validity.ends() == CA.certificate.not_valid_after_utc
    cluster_context(material, True)


@pytest.mark.parametrize("passphrase", [b"", b"s3cret"])
def test_pkcs12_is_taken_for_certificate_and_key(files: Files, passphrase: bytes) -> None:
    """The form that Java's tools write; the same file is both."""
    content = IDENTITY.pkcs12(passphrase)
    material, _ = read(files.paths(content, content, passphrase + b"\n" if passphrase else None))
    assert material.chain == IDENTITY.pem() and is_usable(material)


def test_an_encrypted_key_is_opened_with_the_passphrase_of_the_file(files: Files) -> None:
    """Without the line end that editors leave."""
    material, _ = read(files.paths(IDENTITY.pem(), IDENTITY.key_pem(b"s3cret"), b"s3cret\n"))
    assert is_usable(material)


def test_a_passphrase_for_a_key_that_needs_none_is_harmless(files: Files) -> None:
    """The next key may need it."""
    material, _ = read(files.paths(IDENTITY.pem(), IDENTITY.key_pem(), b"s3cret"))
    assert is_usable(material)


def test_the_chain_comes_with_the_certificate(files: Files) -> None:
    """Those whom the other end cannot know have to be shown to it."""
    material, _ = read(files.paths(IDENTITY.pem() + CA.pem(), IDENTITY.key_pem()))
    assert material.chain == IDENTITY.pem() + CA.pem()


def test_no_key_is_left_on_the_disk(files: Files, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenSSL wants files, and gets one that is none."""
    place = tmp_path / "elsewhere"
    place.mkdir()
    monkeypatch.setenv("TMPDIR", str(place))
    material, _ = read(files.paths(IDENTITY.pem(), IDENTITY.key_pem()))
    before = len(os.listdir("/proc/self/fd"))
    assert is_usable(material)
    assert list(place.iterdir()) == [] and len(os.listdir("/proc/self/fd")) == before


def test_only_new_versions_are_spoken(files: Files) -> None:
    """1.2 and 1.3, at either end."""
    material, _ = read(files.paths(IDENTITY.pem(), IDENTITY.key_pem()))
    for context in (client_context(material, False), cluster_context(material, False)):
        assert context.minimum_version == ssl.TLSVersion.TLSv1_2
        assert context.maximum_version == ssl.TLSVersion.TLSv1_3


OTHER = CA.sign("127.0.50.5")


@pytest.mark.parametrize(
    ("certificate", "private_key", "passphrase", "text"),
    [
        (None, IDENTITY.key_pem(), None, "CERT (/cert) cannot be read: No such file or directory"),
        (IDENTITY.pem(), None, None, "KEY (/key) cannot be read: No such file or directory"),
        (
            IDENTITY.pem(),
            OTHER.key_pem(),
            None,
            "KEY (/key) is not the key of the certificate in CERT (/cert): they belong together",
        ),
        (
            IDENTITY.pem(),
            IDENTITY.key_pem(b"s3cret"),
            None,
            "KEY (/key) is encrypted: name the file that holds its passphrase in PASS_FILE",
        ),
        (
            IDENTITY.pem(),
            IDENTITY.key_pem(b"s3cret"),
            b"wrong",
            "the passphrase in PASS (/pass) does not open KEY (/key)",
        ),
        (IDENTITY.pem(), IDENTITY.pem(), None, "KEY (/key) holds no private key in PEM form that can be read"),
        (
            IDENTITY.pkcs12(b"s3cret"),
            IDENTITY.key_pem(),
            None,
            "CERT (/cert) is not PEM; if it is PKCS#12, name the file that holds its passphrase in PASS_FILE",
        ),
        (
            IDENTITY.pkcs12(b"s3cret"),
            IDENTITY.key_pem(),
            b"wrong",
            "CERT (/cert) is not PEM; if it is PKCS#12, the passphrase in PASS (/pass) does not open it",
        ),
    ],
)
def test_what_cannot_be_used_is_named_with_what_to_do(
    files: Files, certificate: bytes | None, private_key: bytes | None, passphrase: bytes | None, text: str
) -> None:
    """By key and path, and never with what is in the file."""
    assert fault(files.paths(certificate, private_key, passphrase)) == text


@pytest.mark.parametrize("content", [b"", b"nothing of the kind", IDENTITY.key_pem(), IDENTITY.pkcs12()])
def test_authorities_are_in_pem(files: Files, content: bytes) -> None:
    """One that is not read would be one that nobody is checked with."""
    paths = TlsPaths(files.file("CA", content))
    assert fault(paths) == "CA (/ca) holds no certificates in PEM form (BEGIN CERTIFICATE)"


def test_comments_between_authorities_are_passed_over(files: Files) -> None:
    """Bundles have the names of those who issue them, in their own alphabets."""
    paths = TlsPaths(files.file("CA", "Főtanúsítvány\n".encode() + CA.pem()))
    cluster_context(read(paths)[0], True)


def test_a_certificate_that_is_none_is_found(files: Files) -> None:
    """Cut in the middle by somebody who has copied it."""
    assert fault(files.paths(IDENTITY.pem()[:200], IDENTITY.key_pem())).startswith(
        "CERT (/cert) holds no certificate that can be read"
    )


def test_authorities_last_as_long_as_the_last_of_them(files: Files) -> None:
    """While they are changed both are in the file, and the old one may expire there."""
    paths = TlsPaths(files.file("CA", Authority(days=-1).pem() + CA.pem()))
    assert read(paths)[1].ends() == CA.certificate.not_valid_after_utc


def test_an_end_lasts_as_long_as_all_that_it_needs(tmp_path: Path) -> None:
    """Its own certificate, or the authorities, whichever ends first."""

    def ends_within(authority: Authority, identity: Identity) -> timedelta:
        ca, (certificate, key) = authority.write(tmp_path), identity.write(tmp_path, "own")
        paths = TlsPaths(TlsFile("CA", str(ca)), TlsFile("CERT", str(certificate)), TlsFile("KEY", str(key)))
        end = read(paths)[1].ends()
        assert end is not None
        return end - datetime.now(UTC)

    long, short = Authority(days=100), Authority(days=10)
    assert 9 < ends_within(long, long.sign(days=10)).days + 1 <= 10
    assert 9 < ends_within(short, short.sign(days=100)).days + 1 <= 10
