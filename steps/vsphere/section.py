"""The job file's `vcenters:`: where a vCenter is, as whom we log in, and how we know that it is the right
one.

There is no way to skip the check: without it, any server that answers at that address gets the password.
"""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import Field, field_validator

from runner.base.model import HOW, FilePath, JobModel, Percent
from runner.hosts.secrets import SecretRef
from runner.step.context import Context
from runner.step.items import Claim, Item
from runner.step.section import Section
from steps.vsphere import causes
from steps.vsphere.limits import VCenterLimits, claims
from steps.vsphere.rule import Rule

HTTPS_PORT = 443

_SERVER = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]*[A-Za-z0-9])?|[0-9A-Fa-f:]*:[0-9A-Fa-f:.]*")
_SHA1_DIGITS = 40
_SHA256_DIGITS = 64


class CaFile(JobModel):
    """PEM file with the certificate authorities that may have signed the vCenter's certificate (a vCenter
    gives away its own at ``https://server/certs/download.zip``)."""

    ca: FilePath
    """Path of the PEM file."""


class Thumbprint(JobModel):
    """SHA-256 of the vCenter's certificate, in hex, with or without colons."""

    thumbprint: str | tuple[str, ...] = Field(min_length=1)
    """64 hexadecimal digits; `openssl x509 -noout -fingerprint -sha256` prints them. `[old, new]` takes
    either, ahead of a change that is announced. An expired certificate is refused though it is pinned."""

    @property
    def accepted(self) -> tuple[str, ...]:
        """64 digits each, in lower case."""
        return (self.thumbprint,) if isinstance(self.thumbprint, str) else self.thumbprint

    @field_validator("thumbprint")
    @classmethod
    def _sha256(cls, value: str | tuple[str, ...]) -> str | tuple[str, ...]:
        return _digits_of(value) if isinstance(value, str) else tuple(_digits_of(one) for one in value)


def _digits_of(value: str) -> str:
    digits = value.replace(":", "").lower()
    if not re.fullmatch(r"[0-9a-f]+", digits):
        raise ValueError("write the SHA-256 thumbprint as 64 hexadecimal digits, with or without colons")
    if len(digits) == _SHA1_DIGITS:
        raise ValueError(
            "that is a SHA-1 thumbprint; `openssl x509 -noout -fingerprint -sha256` prints the SHA-256 one"
        )
    if len(digits) != _SHA256_DIGITS:
        raise ValueError(
            f"a SHA-256 thumbprint has {_SHA256_DIGITS} hexadecimal digits, this has {len(digits)}"
        )
    return digits


class VCenter(Section):
    """A vCenter Server."""

    Rule = Rule
    noun = "VM"

    server: str
    """Host name or IP address, as in its certificate."""
    port: Annotated[int, Field(ge=1, le=65535)] = HTTPS_PORT
    """Of its API and of /folder."""
    username: Annotated[str, HOW]
    """As whom to log in, such as backup@vsphere.local."""
    password: Annotated[SecretRef, HOW]
    """Where the password is: `{env: …}`, `{file: …}` or `{exec: […]}`; never the password itself."""
    tls: Annotated[CaFile | Thumbprint, HOW]
    """How it is known to be the right one: `{ca: …}` or `{thumbprint: …}`."""

    limits: Annotated[VCenterLimits, HOW] = VCenterLimits()
    """What its VMs bear at once, of all runs that name the same `slots`."""
    min_free: Annotated[Percent | None, HOW] = None
    """Percent that each datastore of a VM must have free for its backup to begin."""

    @field_validator("server")
    @classmethod
    def _plain_name(cls, value: str) -> str:
        if not _SERVER.fullmatch(value):
            raise ValueError(
                "write the host name or IP address alone, like vcenter.example.com; the port goes to `port`"
            )
        return value

    @property
    def limited(self) -> str:
        return "limits" if self.limits != VCenterLimits() else ""

    def claims(self, ctx: Context, name: str, item: Item) -> tuple[Claim, ...]:
        return tuple(claims(self.limits, self.min_free, name, item))

    def causes(self, name: str, item: Item) -> tuple[str, ...]:
        stores = (causes.no_room(store.name) for store in item.stands_on.get("datastore", ()))
        return (causes.login(name), causes.unreached(name), *stores)

    @property
    def authority(self) -> str:
        """As in a URL: ``vcenter.example.com``, ``[2001:db8::1]:8443``."""
        host = f"[{self.server}]" if ":" in self.server else self.server
        return host if self.port == HTTPS_PORT else f"{host}:{self.port}"
