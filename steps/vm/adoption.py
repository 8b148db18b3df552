"""A VM that vSphere calls otherwise than its restore points: both side by side, and the record that they are
one."""

from __future__ import annotations

import getpass
import os
import posixpath
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from runner.base.errors import SendenseError
from runner.hosts.held_lock import holder_of
from runner.hosts.host import Host
from runner.step.context import Context
from steps.repository import identities, layout, marker, vm_place
from steps.repository.identities import Adoption, Identity
from steps.repository.section import locate
from steps.trail import log
from steps.vm import which_vm
from steps.vsphere import machine
from steps.vsphere.client import vcenter


class AnotherVmError(SendenseError):
    def __init__(self, directory: str, old: Identity, new: Identity) -> None:
        super().__init__(
            f"VM {new.name!r} is not the one whose restore points are in {directory}: neither its BIOS uuid "
            f"({new.bios_uuid}, there {old.bios_uuid}) nor any of its disks is the same; give the VMs of its "
            "vCenter a repository of their own"
        )


class HasOwnPointsError(SendenseError):
    def __init__(self, vm: Identity, own: str, other: str) -> None:
        super().__init__(
            f"VM {vm.name!r} has its own restore points in {own}, so it cannot continue those in {other}: "
            "move one of the two directories to another repository"
        )


class ChangedMeanwhileError(SendenseError):
    def __init__(self, directory: str) -> None:
        super().__init__(
            f"{directory} changed meanwhile, and nothing was adopted: run the same command again"
        )


@dataclass(frozen=True)
class Comparison:
    """What the repository has of a VM (`old`, None without a restore point) and what vSphere says of it
    now."""

    host: Host
    directory: str
    """Absolute; empty where there is none."""
    old: Identity | None
    new: Identity

    @property
    def state(self) -> Literal["differs", "known", "first"]:
        if self.old is None:
            return "first"
        return "known" if identities.is_known(self.old, self.new) else "differs"


def compare(ctx: Context, vcenter_name: str, wanted: str, repository: str) -> Comparison:
    """Of the VM that the job calls `wanted`. Changes nothing. Raises NotFound, Ambiguous, StateError, and
    AnotherVmError and HasOwnPointsError where they cannot be one."""
    host, root = locate(ctx, repository)
    marker.require(host, root)
    client = vcenter(ctx, vcenter_name)
    directory = None
    try:
        seen = machine.describe(client, which_vm.choose(ctx, client, wanted, repository).moref)
    except which_vm.NotAdopted as error:
        seen, directory = error.found, error.before.directory
    new = which_vm.identity_of(seen)
    own = vm_place.find(host, root, new.instance_uuid)
    if directory is not None and own is not None and own != directory:
        raise HasOwnPointsError(new, own, directory)
    directory = directory or own
    if directory is None:
        return Comparison(host, "", None, new)
    found = Comparison(host, directory, vm_place.known_as(host, directory), new)
    if found.old is not None and found.state == "differs" and not _may_be_one(found.old, new):
        raise AnotherVmError(directory, found.old, new)
    return found


def adopt(ctx: Context, found: Comparison) -> Adoption:
    """Writes that what differs in `found` is one VM, under the VM's lock. Raises LockedError,
    ChangedMeanwhileError, StateError."""
    assert found.old is not None, "there is nothing to adopt"
    made = Adoption(old=found.old, new=found.new, who=_who(), when=datetime.now(UTC))
    with _held(ctx, found):
        if vm_place.known_as(found.host, found.directory) != found.old:
            raise ChangedMeanwhileError(found.directory)
        identities.add(found.host, found.directory, made)
        root = posixpath.dirname(found.directory)
        text = f"{made.old.name} ({made.old.instance_uuid}) is {made.new.name} ({made.new.instance_uuid})"
        log.note(ctx, found.host, root, "adopt", vm=found.directory, text=text)
    return made


def _may_be_one(old: Identity, new: Identity) -> bool:
    """A person decides; only what has nothing in common but a number that another vCenter gave is refused."""
    return identities.same(old.bios_uuid, new.bios_uuid) or old.shares_a_disk(new)


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # as Python 3.13 says it
        user = str(os.geteuid())
    return f"{user}@{socket.gethostname()}"


@contextmanager
def _held(ctx: Context, found: Comparison) -> Iterator[None]:
    holder = holder_of("adopt", ctx.run.job, ctx.run.execution)
    lock = found.host.lock(posixpath.join(found.directory, layout.LOCK), str(holder), holder.token)
    try:
        yield
    finally:
        lock.release()
