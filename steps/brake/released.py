"""brake-released.json in a VM's directory: up to which of its points somebody has looked at what changed."""

from __future__ import annotations

import posixpath
from typing import Literal

from runner.base.errors import StateError
from runner.base.sealed import Damaged, seal, unseal
from runner.hosts.host import Host
from steps.brake.nights import Brake, Judged, judge
from steps.repository import layout
from steps.repository.manifest import PointName
from steps.repository.recorded import Amount, Recorded, UtcTime
from steps.repository.section import BrakeLimits
from steps.repository.vm_directory import VmDirectory

SCHEMA_VERSION: Literal[1] = 1


class Released(Recorded):
    schema_version: Literal[1] = SCHEMA_VERSION
    point: PointName
    """The newest that there was: it and those before it were looked at."""
    sequence: Amount
    """That point's."""
    reason: str
    at: UtcTime


def judge_vm(host: Host, vm: VmDirectory, limits: BrakeLimits | None) -> Judged:
    """The record of a release is read only where it matters. Raises StateError for a damaged one,
    HostError."""
    points = [entry.manifest for entry in vm.entries]
    found = judge(points, limits)
    if found.brake is None and found.unusual is not True:
        return found
    known = read(host, vm.path)
    # By sequence: the point itself may be deleted since.
    # Nobody has looked at what is not there yet: that was forged, to end the brake for ever.
    if known is None or known.sequence > max(one.sequence or 0 for one in points):
        return found
    # Of that sequence the point itself alone: after the run that made it was discarded the next has it.
    looked_at = sum((one.sequence or 0) < known.sequence or one.point == known.point for one in points)
    return judge(points, limits, looked_at)


def of_vm(host: Host, vm: VmDirectory, limits: BrakeLimits | None) -> Brake | None:
    """Whether the brake is on. Raises as `judge_vm`."""
    return judge_vm(host, vm, limits).brake


def sentence(host: Host, vm: VmDirectory, limits: BrakeLimits | None) -> str | None:
    """Why nothing of the VM is deleted, in words; None where it may be. Where it cannot be read what was
    released, nothing was. Raises HostError."""
    try:
        found = of_vm(host, vm, limits)
    except StateError as error:
        return error.message
    return None if found is None else found.sentence


def read(host: Host, directory: str) -> Released | None:
    """None if it was never released. Raises StateError for a damaged record."""
    path = posixpath.join(directory, layout.BRAKE_RELEASED)
    try:
        return unseal(host.read(path, limit=layout.RECORD_LIMIT), Released, SCHEMA_VERSION)
    except FileNotFoundError:
        return None
    except Damaged as error:
        raise error.error(f"{path} on {host.name}") from error


def write(host: Host, directory: str, released: Released) -> None:
    """Of the VM in that directory, whose lock is held."""
    host.write(posixpath.join(directory, layout.BRAKE_RELEASED), seal(released.to_json_value()))
