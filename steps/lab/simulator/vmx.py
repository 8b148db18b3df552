"""The .vmx file: a VM's settings by name."""

from __future__ import annotations

from collections.abc import Sequence

from runner.base.units import MiB
from steps.lab.simulator.devices import NODES
from steps.lab.simulator.disk import Disk
from steps.lab.simulator.machine_spec import MachineSpec


def text(
    spec: MachineSpec, stem: str, uuid: str, instance_uuid: str, disks: Sequence[Disk], tracking: bool
) -> str:
    """`stem` is how the VM's files begin; `tracking`: change tracking is on."""
    lines = {
        "config.version": "8",
        "virtualHW.version": str(spec.hardware_version),
        "displayName": spec.name,
        "guestOS": spec.guest,
        "firmware": spec.firmware,
        "numvcpus": str(spec.cpus),
        "memSize": str(spec.memory // MiB),
        "uuid.bios": uuid,
        "vc.uuid": instance_uuid,
        **extra_config(spec, stem, disks, tracking),
    }
    for disk in disks:
        lines[f"{_node(spec, disk)}.fileName"] = disk.top.descriptor.name
    quoted = {key: value.replace('"', "|22") for key, value in lines.items()}
    return "".join(f'{key} = "{value}"\n' for key, value in quoted.items())


def extra_config(spec: MachineSpec, stem: str, disks: Sequence[Disk], tracking: bool) -> dict[str, str]:
    """Change tracking shows as ctkEnabled and scsi0:0.ctkEnabled (KB 422164)."""
    extra = {"nvram": f"{stem}.nvram", "svga.present": "TRUE"}
    if tracking:
        extra["ctkEnabled"] = "TRUE"
        for disk in disks:
            if disk.tracked:
                extra[f"{_node(spec, disk)}.ctkEnabled"] = "TRUE"
    return extra | spec.extra_config


def _node(spec: MachineSpec, disk: Disk) -> str:
    """The disk's place: ``scsi0:1``."""
    controller = next(one for one in spec.controllers if one.key == disk.spec.controller)
    return f"{NODES[controller.kind]}{controller.bus}:{disk.spec.unit}"
