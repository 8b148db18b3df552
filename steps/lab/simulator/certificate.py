"""The simulator's own certificate authority and the server certificate it signs for loopback; an ESXi host's
own."""

from __future__ import annotations

import datetime
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

VALID = datetime.timedelta(days=365)
Names = Sequence[x509.GeneralName]
LOOPBACK: Names = (x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1")))


@dataclass(frozen=True)
class Certificates:
    ca: Path
    """PEM of the authority that clients trust."""
    server: Path
    key: Path
    thumbprint: str
    """SHA-256 of the server certificate, hex pairs with colons."""
    sha1: str
    """As a lease gives it."""

    def context(self) -> ssl.SSLContext:
        made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        made.minimum_version = ssl.TLSVersion.TLSv1_2
        made.load_cert_chain(self.server, self.key)
        return made


def make(directory: Path, valid: datetime.timedelta = VALID, names: Names = LOOPBACK) -> Certificates:
    """Makes ca.pem, server.pem and server.key (0600) in `directory`; what is there is replaced. `valid` is
    how long the server's certificate still is; it has expired where that is negative. `names`: which servers
    it names."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    authority_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    authority_name, name = _name("Simulated vCenter CA"), _name("localhost")
    authority = (
        _builder(authority_name, authority_name, authority_key.public_key(), VALID)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs=True), critical=True)
        .sign(authority_key, hashes.SHA256())
    )
    server = (
        _builder(name, authority_name, key.public_key(), valid)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key()), critical=False
        )
        .sign(authority_key, hashes.SHA256())
    )
    made = Certificates(
        directory / "ca.pem",
        directory / "server.pem",
        directory / "server.key",
        *_fingerprints(server),
    )
    made.ca.write_bytes(authority.public_bytes(serialization.Encoding.PEM))
    _write(made, server, key)
    return made


def make_own(directory: Path, host: str) -> Certificates:
    """Makes host.pem, signed by itself, and host.key in `directory`: what an ESXi host comes with. It names
    `host` and no address, so that it is trusted by its thumbprint or not at all."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    key, name = ec.generate_private_key(ec.SECP256R1()), _name(host)
    own = (
        _builder(name, name, key.public_key(), VALID)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(host)]), critical=False)
        .sign(key, hashes.SHA256())
    )
    certificate = directory / "host.pem"
    made = Certificates(certificate, certificate, directory / "host.key", *_fingerprints(own))
    _write(made, own, key)
    return made


def _fingerprints(certificate: x509.Certificate) -> tuple[str, str]:
    kinds = hashes.SHA256(), hashes.SHA1()
    first, second = (certificate.fingerprint(kind).hex(":").upper() for kind in kinds)
    return first, second


def _write(made: Certificates, certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> None:
    made.server.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    made.key.touch(mode=0o600)
    made.key.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )


def _name(text: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, valid: datetime.timedelta
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(min(now, now + valid) - datetime.timedelta(hours=1))
        .not_valid_after(now + valid)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _usage(*, signs: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=True,
        key_cert_sign=signs,
        crl_sign=signs,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
