"""The digest of a restore point that is kept outside of its repository.

It is of what a manifest says and nothing changes as long as the point exists: what was read at the source
(the digest of each disk's digests file, hence of every block), how much of it had changed, the VM's saved
files, and who made it. Rebasing an image changes nothing of it, and a copy in another repository has the
same.
"""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Any, Literal

from pydantic import Field

from runner.base.model import Model
from steps.repository.manifest import Manifest, PointName
from steps.repository.recorded import UtcTime
from steps.trail.entry import HASH, Head

_OF_POINT = (
    "point",
    "sequence",
    "run",
    "created",
    "published",
    "stored",
    "vm",
    "quiesced",
    "config",
    "nvram",
    "saved",
    "job",
    "job_digest",
    "git_commit",
    "unusual",
    "of_set",
)
# By name, as all else: a field that a later version adds must not make another point of each that is there.
_OF_VM = ("vcenter_uuid", "instance_uuid", "bios_uuid", "moref", "name", "inventory_path", "asked")
_OF_DISK = (
    "key",
    "label",
    "controller",
    "unit",
    "capacity",
    "backing_uuid",
    "file",
    "change_id",
    "rolled_back",
    "digests",
    "digest",
    "data",
    "zero",
    "sampled",
)


class Witnessed(Model):
    """What is kept elsewhere of a restore point: a line of a witness file."""

    schema_version: Literal[1] = 1
    repository: str
    """The uuid in its marker."""
    vm: str
    """The name of the VM's directory."""
    point: PointName
    published: UtcTime
    digest: Annotated[str, Field(pattern=rf"^{HASH}$")]
    log: Head | None
    """The entry of the log that says it was published; None where that could not be logged, or is not
    known."""


def digest(made: Manifest) -> str:
    """SHA-256, 64 hex digits."""
    said: dict[str, Any] = made.to_json_value()
    disks = [{name: disk[name] for name in _OF_DISK} for disk in said["disks"]]
    disks.sort(key=lambda disk: disk["key"])
    vm = {name: said["vm"][name] for name in _OF_VM}
    content = {**{name: said[name] for name in _OF_POINT}, "vm": vm, "disks": disks}
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()
