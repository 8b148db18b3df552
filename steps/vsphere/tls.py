"""Whom we trust to be the vCenter: a CA the job names, or exactly the certificate it pins.

pyVmomi's own ways are not used: to localhost it drops verification unless it is given a context, and its
`thumbprint` together with `disableSslCertValidation` accepts a wrong one. So the context is made here, and
always passed.
"""

from __future__ import annotations

import hashlib
import hmac
import socket
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from runner.base.errors import UsageError
from steps.vsphere.errors import NotTrusted
from steps.vsphere.section import CaFile, Thumbprint, VCenter

FETCH_TIMEOUT = 30.0
"""Seconds for a TCP connection and a TLS handshake."""


@dataclass(frozen=True)
class Trust:
    """`pem`: the certificates that `context` trusts, for children that verify on their own (curl)."""

    context: ssl.SSLContext
    pem: str
    pinned: bool


def trust(vcenter: VCenter) -> Trust:
    """Raises UsageError for an unreadable CA file, NotTrusted for another thumbprint, OSError."""
    match vcenter.tls:
        case CaFile(ca=path):
            return _trust_authorities(path)
        case Thumbprint() as pinned:
            return _trust_certificate(vcenter, pinned.accepted)


def _trust_authorities(path: str) -> Trust:
    try:
        pem = Path(path).read_bytes().decode("ascii", "ignore")  # comments may be in any encoding
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem)
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        reason = getattr(error, "strerror", None) or "it holds no PEM certificate"
        raise UsageError(f"the CA file {path} cannot be used: {reason}") from error
    return Trust(context, pem, pinned=False)


def _trust_certificate(vcenter: VCenter, accepted: Sequence[str]) -> Trust:
    """An expired one is refused even if it is pinned: an attacker may have had
    time to get it, and curl, which reads the disks, takes it no more either."""
    from cryptography import x509

    pem = _fetch(vcenter)
    found = thumbprint(pem)
    if not any(hmac.compare_digest(found, one) for one in accepted):
        raise NotTrusted(
            f"the certificate of {vcenter.authority} has the SHA-256 thumbprint {colons(found)}, the job "
            f"pins {' or '.join(map(colons, accepted))}: if the certificate was renewed, ask who did it and "
            "write the new thumbprint"
        )
    ended = x509.load_pem_x509_certificate(pem.encode()).not_valid_after_utc
    if ended < datetime.now(UTC):
        raise NotTrusted(
            f"the certificate of {vcenter.authority} that the job pins has expired on {ended:%Y-%m-%d}: "
            "renew it in vCenter and write the thumbprint of the new one, or set this machine's clock right"
        )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    # The thumbprint says which machine it is; the name in a self-made certificate says nothing more.
    context.check_hostname = False
    # The pinned certificate is the anchor itself, also where a CA that we do not know signed it.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.load_verify_locations(cadata=pem)
    return Trust(context, pem, pinned=True)


def _fetch(vcenter: VCenter) -> str:
    """The certificate of the server that answers; nothing else is sent on that connection."""
    return ssl.get_server_certificate((vcenter.server, vcenter.port), timeout=FETCH_TIMEOUT)


def thumbprint(pem: str) -> str:
    """SHA-256 of the (first) certificate, 64 hex digits."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()


def sha1_thumbprint(vcenter: VCenter, trust: Trust) -> str:
    """``AB:CD:…`` of the certificate that the vCenter shows, just verified as the job says: VMware's own
    library knows a server by nothing else. Raises OSError."""
    with (
        socket.create_connection((vcenter.server, vcenter.port), FETCH_TIMEOUT) as connection,
        trust.context.wrap_socket(connection, server_hostname=vcenter.server) as secured,
    ):
        certificate = secured.getpeercert(binary_form=True)
    assert certificate is not None  # the context demands one
    return colons(hashlib.sha1(certificate, usedforsecurity=False).hexdigest())


def colons(digits: str) -> str:
    """``AB:CD:…``, as openssl and vSphere write it."""
    return ":".join(digits[index : index + 2] for index in range(0, len(digits), 2)).upper()
