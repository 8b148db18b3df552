"""A VM's saved files in a restore point, against what its manifest says of them: they decide which machine a
restore makes, and the digests of disks say nothing of them."""

from __future__ import annotations

import hashlib
import posixpath
from collections.abc import Mapping

from runner.base.errors import DifferenceError
from runner.hosts.host import Host
from steps.repository import layout
from steps.repository.manifest import Manifest

_LARGEST = layout.RECORD_LIMIT * 64
"""Bytes: a VM's configuration with sixty disks is 200 KB, its NVRAM 270 KB."""


class SavedFilesDifferError(DifferenceError):
    def __init__(self, path: str, host: str, why: str) -> None:
        super().__init__(
            f"{path}/{layout.VM_FILES} on {host} is not what was saved of the VM: {why}; take another "
            "restore point, or restore its disks as files (`--to`)"
        )


def digests(contents: Mapping[str, bytes]) -> dict[str, str]:
    """For `Manifest.saved`."""
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(contents.items())}


def require(host: Host, path: str, made: Manifest) -> None:
    """Of the point in the directory `path`; one from before they had digests passes. Raises
    SavedFilesDifferError, HostError."""
    for name, expected in made.saved.items():
        found = hashlib.sha256()
        try:
            for chunk in host.read_chunks(posixpath.join(path, layout.VM_FILES, name), limit=_LARGEST):
                found.update(chunk)
        except FileNotFoundError:
            raise SavedFilesDifferError(path, host.name, f"{name} is gone") from None
        if found.hexdigest() != expected:
            why = f"{name} has SHA-256 {found.hexdigest()}, and had {expected}"
            raise SavedFilesDifferError(path, host.name, why)
