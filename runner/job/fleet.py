"""``fleet:``: the machines that `sendense run --on` may place the children of a set on."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import field_validator

from runner.base.model import FilePath, JobModel

TLS_PORT = 8786
"""The port of Dask's schedulers."""


def tls_address(value: str) -> str:
    """``tls://HOST:PORT``; the port may be left out. Raises ValueError, with a sentence for a person."""
    parts = urlsplit(value)
    if parts.scheme == "tcp":
        raise ValueError(
            "plain TCP is refused: all who reach such a scheduler run code on every worker; write tls://HOST:PORT"
        )
    try:
        port = TLS_PORT if parts.port is None else parts.port
    except ValueError as error:
        raise ValueError(f"write tls://HOST:PORT: {error}") from error
    if parts.scheme != "tls" or not parts.hostname or parts.path or parts.query or parts.username is not None:
        raise ValueError("write tls://HOST:PORT")
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return f"tls://{host}:{port}"


class DaskFleet(JobModel):
    """A Dask cluster whose workers are `sendense worker`. TLS is mutual: each side has a certificate of the
    one CA, and any such certificate runs code on every worker."""

    scheduler: str
    """``tls://HOST:PORT``"""
    ca: FilePath
    """The certificate of the CA, PEM. It signs this cluster's certificates and no others."""
    cert: FilePath
    """The certificate that this runner shows, PEM."""
    key: FilePath
    """Its private key, PEM, not readable by others."""

    _address = field_validator("scheduler")(tls_address)


class Fleet(JobModel):
    """Which machines run the children of a set with `--on`."""

    dask: DaskFleet | None = None
    """A Dask cluster with `sendense worker` on its machines."""
