"""A restore point's machine, for a KVM host that is to run the VM: printed, and nothing is started."""

from __future__ import annotations

import posixpath
import shlex

from runner.base.errors import StateError
from runner.cli.options import print_json
from steps.commands.asked import Asked
from steps.commands.find import find_point
from steps.machine import libvirt
from steps.machine.decision import decide
from steps.machine.disks import DiskToBoot
from steps.points import stored
from steps.repository import layout, manifest
from steps.saved_vm import file
from steps.values.machine import Machine

DOMAIN_SCHEMA_VERSION = 1

IMAGES = "/var/lib/libvirt/images"
"""Where libvirt's own default pool is."""

INSTEAD = "its disks can be restored as files (`--to`), and its machine has to be described by hand"


def print_libvirt(asked: Asked, point: str, disks: tuple[int, ...]) -> None:
    """With memory and processors as the VM had them. Raises StateError, what `find_point` does, HostError."""
    with asked.places() as places:
        place, path = find_point(asked.job, places, point)
        stored.refuse_unknown_disks(place.host, path, disks)
        made = manifest.read(place.host, path)
        if made is None:
            raise StateError(f"{path} on {place.host.name} has no manifest any longer: it is being deleted")
        saved = file.read(place.host, posixpath.join(path, layout.VM_FILES, made.config), INSTEAD)
    wanted = [disk for disk in made.disks if not disks or disk.key in disks]
    machine = decide(saved, [DiskToBoot(one.key, one.label, one.capacity) for one in wanted], None)
    document = _domain(asked, machine, path)
    if asked.as_json:
        print_json({"schema_version": DOMAIN_SCHEMA_VERSION, "path": path, "libvirt": document})
    else:
        print(document, end="")


def _domain(asked: Asked, machine: Machine, path: str) -> str:
    slug = layout.slug_of(posixpath.dirname(path))
    place = posixpath.join(IMAGES, slug)
    files = {
        disk.key: posixpath.join(place, f"{layout.export(slug, disk.key)}.qcow2") for disk in machine.disks
    }
    restore = shlex.join(
        ["sendense", "restore", str(asked.site), f"{slug}/{posixpath.basename(path)}", "--to", place]
    )
    return libvirt.xml(
        machine,
        files,
        (
            # libvirt would write beside a point's own images, and give them another owner.
            "its disks are copies, never the restore point's own images",
            f"on the KVM host: {restore}",
            "then: virsh define FILE, and virsh start",
        ),
    )
