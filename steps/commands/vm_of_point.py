"""The VM that a restore point is of, as a job reaches it in its vCenter."""

from __future__ import annotations

import posixpath
from collections.abc import Sequence

from pydantic import JsonValue

from runner.base.errors import UsageError
from runner.job.model import Job
from steps.points.place import Place
from steps.repository import identities, layout

VDDK = ("vddk_libdir", "vddk_plugin", "vddk_transports", "vddk_compression")
"""Variables that the templates for disks in vSphere share."""


def uuid_of(place: Place, point: str) -> str:
    """By which the VM of `point` is found now: it may have been adopted under another one than its directory
    tells."""
    directory = posixpath.dirname(point)
    adopted = identities.current_uuid(identities.read(place.host, directory))
    return adopted or layout.uuid_of_vm_directory(posixpath.basename(directory)) or ""


def how_it_is_reached(job: Job, names: Sequence[str]) -> dict[str, JsonValue]:
    """Variables of `job` with these names, and `vcenter`. Raises UsageError where it is not known which
    vCenter has the VM."""
    vcenters = list(job.sections.get("vcenters", {}))
    if "vcenter" not in job.vars and len(vcenters) != 1:
        raise UsageError(
            f"{job.file} does not say which vCenter has the VM: name the VM's backup job, or a site with one "
            "vCenter"
        )
    known: dict[str, JsonValue] = {"vcenter": vcenters[0]} if len(vcenters) == 1 else {}
    return {**known, **{name: job.vars[name] for name in ("vcenter", *names) if name in job.vars}}
