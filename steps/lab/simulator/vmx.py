"""The .vmx file: a VM's settings by name."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from runner.base.units import MiB
from steps.lab.simulator.devices import NODES
from steps.lab.simulator.disk import Disk
from steps.lab.simulator.machine_spec import MachineSpec


def text(
    spec: MachineSpec, uuid: str, instance_uuid: str, advanced: Mapping[str, str], files: Mapping[str, str]
) -> str:
    """`advanced`: its advanced settings; `files`: of its disks, by their nodes."""
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
        **advanced,
    }
    for node, file in files.items():
        lines[f"{node}.fileName"] = file
    quoted = {key: value.replace('"', "|22") for key, value in lines.items()}
    return "".join(f'{key} = "{value}"\n' for key, value in quoted.items())


OF_OTHERS = frozenset(
    {"config.version", "virtualHW.version", "displayName", "guestOS", "firmware", "numvcpus", "memSize"}
    | {"uuid.bios", "vc.uuid", "annotation"}
)
"""Advanced settings of these names are ignored: they double other properties (API reference,
ConfigSpec.extraConfig)."""


def extra_config(spec: MachineSpec, stem: str, tracked: Sequence[str] | None) -> dict[str, str]:
    """Change tracking shows as ctkEnabled and scsi0:0.ctkEnabled (KB 422164). `tracked`: the nodes of the
    disks that it reaches; None where it is off."""
    extra = {"nvram": f"{stem}.nvram", "svga.present": "TRUE"}
    if tracked is not None:
        extra |= {"ctkEnabled": "TRUE", **{f"{node}.ctkEnabled": "TRUE" for node in tracked}}
    return extra | spec.extra_config


def node(controller: Any, disk: Disk) -> str:
    """The disk's place: ``scsi0:1``."""
    name = next(name for kind, name in NODES if isinstance(controller, kind))
    return f"{name}{controller.busNumber}:{disk.spec.unit}"
