"""From certificates in files to what the `ssl` module wants: PEM, and for a certificate and its key PKCS#12 as well.

`read` takes the files and finds what is wrong with them, so that an operator hears of it in words and at once, not from
the first handshake. What it gives (`TlsMaterial`) is bytes, and travels to worker processes: they never look at files,
so a certificate that is replaced on the disk is replaced in all of them or in none. `cluster_context` and
`client_context` make what connections use of it.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:  # it takes a while to import, and without TLS it is not needed
    from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
    from cryptography.x509 import Certificate

_PEM: Final = b"-----BEGIN "


class TlsFileError(Exception):
    """A file cannot be used; the text names the key that it comes from, and says what to do."""


class UnreadableFileError(TlsFileError):
    """It is not there, or not for this user."""


@dataclass(frozen=True, slots=True)
class TlsFile:
    """A file, and the configuration key that it was named with."""

    key: str
    path: str

    def __str__(self) -> str:
        return f"{self.key} ({self.path})"


@dataclass(frozen=True, slots=True)
class TlsPaths:
    """The files of one end. `certificate` and `private_key` are there both or not at all; a PKCS#12 file is both."""

    authorities: TlsFile
    certificate: TlsFile | None = None
    private_key: TlsFile | None = None
    passphrase: TlsFile | None = None
    passphrase_key: str = ""
    """The configuration key that `passphrase` would come from."""

    def files(self) -> list[TlsFile]:
        """All that are named, in this order."""
        return [each for each in (self.authorities, self.certificate, self.private_key, self.passphrase) if each]


@dataclass(frozen=True, slots=True)
class TlsMaterial:
    """What was in the files, as PEM: `chain` and `key` are empty where the end has no certificate of its own."""

    authorities: str
    chain: bytes = b""
    key: bytes = field(default=b"", repr=False)


@dataclass(frozen=True, slots=True)
class Validity:
    """When the certificates of an end are valid, as far as is known. `own` is its own, None where it has none."""

    authorities: datetime | None
    """The last of them to expire: as long as one is valid, others may be leftovers."""
    own: tuple[datetime, datetime] | None = None

    def ends(self) -> datetime | None:
        """From when on nothing works any more."""
        dates = [self.authorities, self.own[1] if self.own else None]
        return min((date for date in dates if date is not None), default=None)


def read(paths: TlsPaths) -> tuple[TlsMaterial, Validity]:
    """Everything in these files. Raises TlsFileError.

    May take a moment: to open an encrypted key is meant to be slow.
    """
    authorities = _authorities(paths.authorities)
    last = _last_day(authorities)
    if paths.certificate is None or paths.private_key is None:
        return TlsMaterial(authorities), Validity(last)
    passphrase = None if paths.passphrase is None else _content(paths.passphrase).rstrip(b"\r\n")
    chain = _chain(paths.certificate, passphrase, paths)
    key = _key(paths.private_key, passphrase, paths)
    if not _belong_together(chain[0], key):
        raise TlsFileError(
            f"{paths.private_key} is not the key of the certificate in {paths.certificate}: they belong together"
        )
    own = chain[0].not_valid_before_utc, chain[0].not_valid_after_utc
    return TlsMaterial(authorities, _pem_of_chain(chain), _pem_of_key(key)), Validity(last, own)


def cluster_context(material: TlsMaterial, checks_names: bool) -> ssl.SSLContext:
    """For connections to a cluster. Trusts what the system trusts too, as the reference does (spec section 1.5)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = checks_names
    context.load_default_certs(ssl.Purpose.SERVER_AUTH)
    return _completed(context, material)


def client_context(material: TlsMaterial, asks_for_certificates: bool) -> ssl.SSLContext:
    """For connections of clients, whose certificates are checked with these authorities only (section 1.6)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.verify_mode = ssl.CERT_REQUIRED if asks_for_certificates else ssl.CERT_NONE
    return _completed(context, material)


def _completed(context: ssl.SSLContext, material: TlsMaterial) -> ssl.SSLContext:
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3
    # a certificate in the file is trusted as it is, be it one that another has signed
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=material.authorities)
    if material.chain:
        with _as_file(material.chain + material.key) as path:
            context.load_cert_chain(path)
    return context


@contextmanager
def _as_file(content: bytes) -> Iterator[str]:
    """A path under which OpenSSL can read this, and nobody else: it takes certificates from files only."""
    if hasattr(os, "memfd_create"):
        descriptor = os.memfd_create("tls")
        path = f"/proc/self/fd/{descriptor}"
    else:
        descriptor, path = tempfile.mkstemp()
    try:
        with open(descriptor, "wb", closefd=False) as written:
            written.write(content)
        yield path
    finally:
        os.close(descriptor)
        if not hasattr(os, "memfd_create"):
            os.unlink(path)


def _content(file: TlsFile) -> bytes:
    try:
        return Path(file.path).read_bytes()
    except OSError as failed:
        raise UnreadableFileError(f"{file} cannot be read: {failed.strerror}") from failed


def _authorities(file: TlsFile) -> str:
    content = _content(file)
    try:
        text = content.decode("ascii", "ignore")  # comments may hold anything
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_verify_locations(cadata=text)
    except (ssl.SSLError, ValueError) as failed:
        raise TlsFileError(f"{file} holds no certificates in PEM form (BEGIN CERTIFICATE)") from failed
    return text


def _last_day(authorities: str) -> datetime | None:
    from cryptography.x509 import load_pem_x509_certificates

    try:
        return max(each.not_valid_after_utc for each in load_pem_x509_certificates(authorities.encode()))
    except ValueError:
        return None  # one of them is odd in a way that OpenSSL does not mind


def _chain(file: TlsFile, passphrase: bytes | None, paths: TlsPaths) -> Sequence[Certificate]:
    """The end's own certificate, and those that lead from it to an authority."""
    from cryptography.x509 import load_pem_x509_certificates

    content = _content(file)
    if _PEM not in content:
        return _pkcs12(file, content, passphrase, paths)[1]
    try:
        return load_pem_x509_certificates(content)
    except ValueError as failed:
        raise TlsFileError(f"{file} holds no certificate that can be read: {failed}") from failed


def _key(file: TlsFile, passphrase: bytes | None, paths: TlsPaths) -> PrivateKeyTypes:
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    content = _content(file)
    if _PEM not in content:
        return _pkcs12(file, content, passphrase, paths)[0]
    is_encrypted = b"ENCRYPTED" in content
    if is_encrypted and passphrase is None:
        raise TlsFileError(f"{file} is encrypted: name the file that holds its passphrase in {paths.passphrase_key}")
    try:
        return load_pem_private_key(content, passphrase if is_encrypted else None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as failed:
        if is_encrypted:
            raise TlsFileError(f"the passphrase in {paths.passphrase} does not open {file}") from failed
        raise TlsFileError(f"{file} holds no private key in PEM form that can be read") from failed


def _pkcs12(
    file: TlsFile, content: bytes, passphrase: bytes | None, paths: TlsPaths
) -> tuple[PrivateKeyTypes, Sequence[Certificate]]:
    from cryptography.hazmat.primitives.serialization import pkcs12

    try:
        key, certificate, more = pkcs12.load_key_and_certificates(content, passphrase)
    except ValueError as failed:
        if passphrase is None:
            advice = f"if it is PKCS#12, name the file that holds its passphrase in {paths.passphrase_key}"
        else:
            advice = f"if it is PKCS#12, the passphrase in {paths.passphrase} does not open it"
        raise TlsFileError(f"{file} is not PEM; {advice}") from failed
    if key is None or certificate is None:
        raise TlsFileError(f"{file} (PKCS#12) lacks a private key or the certificate that belongs to it")
    return key, [certificate, *more]


def _belong_together(certificate: Certificate, key: PrivateKeyTypes) -> bool:
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

    one, other = (
        public.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        for public in (certificate.public_key(), key.public_key())
    )
    return one == other


def _pem_of_chain(chain: Sequence[Certificate]) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding

    return b"".join(each.public_bytes(Encoding.PEM) for each in chain)


def _pem_of_key(key: PrivateKeyTypes) -> bytes:
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
