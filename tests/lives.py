"""A VM `web` over its life: as the simulator has it, and as restore points of before tell of it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from steps.repository import layout, manifest
from steps.repository.manifest import Manifest, VmIdentity
from steps.values.discovered import Discovered
from tests import chain
from tests.vcenter import Lab, disk, machine

FIRST = "11111111-2222-3333-4444-555555555555"
SECOND = "99999999-2222-3333-4444-555555555555"
BIOS = "42130000-0000-0000-0000-000000000001"
DISK = "6000C298-0000-0000-0000-000000000001"
REBUILT = "7e0d3f51-6c1f-4a57-9d3e-2f6b1c0a7e22"
JOB = "pgtest1-nightly"
AT = datetime(2026, 11, 20, 1, 30, tzinfo=UTC)


def web(**changes: Any) -> dict[str, Any]:
    disks = [disk(uuid=DISK)]
    return machine(**{"name": "web", "instance_uuid": FIRST, "uuid": BIOS, "disks": disks, **changes})


def other(**changes: Any) -> dict[str, Any]:
    return machine(**{"name": "web", "instance_uuid": SECOND, **changes})


def backed_up(root: Path, found: Discovered, day: int = 0, *, job: str = JOB, **changes: Any) -> Manifest:
    """A point of what was discovered, as its manifest tells; `changes` are of what it says of the VM."""
    vm = found.vm
    identity = VmIdentity(
        vcenter_uuid=vm.vcenter_uuid,
        instance_uuid=vm.instance_uuid,
        bios_uuid=vm.bios_uuid,
        moref=vm.moref,
        name=vm.name,
        inventory_path=vm.inventory_path,
        asked=vm.asked,
    )
    made = chain.manifest_of(day, AT + timedelta(days=day), {2000: None}, backing_uuid=found.disks[0].backing_uuid)
    made = made.model_copy(update={"vm": identity.model_copy(update=changes), "job": job})
    point = root / layout.vm_directory(vm.name, vm.instance_uuid) / made.point
    point.mkdir(parents=True)
    (point / layout.MANIFEST).write_bytes(manifest.dump(made))
    return made


def discover(lab: Lab, root: Path, vm: str = "web") -> Discovered:
    lab.repository = root
    return lab.discover(vm, repository="main")
