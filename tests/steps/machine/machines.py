"""Machines decided from saved configurations, and QEMU started with their hardware: paused, on disks of zeroes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.base.units import GiB
from steps.machine.decision import decide
from steps.machine.disks import DiskToBoot
from steps.machine.hardware import hardware
from steps.saved_vm.configuration import Saved
from steps.values.drill import MachineLimits
from steps.values.machine import Machine
from steps.vsphere.vm_spec import Change
from tests.steps.new_vm.vms import about, device

QEMU = "qemu-system-x86_64"

needs_qemu = pytest.mark.skipif(shutil.which(QEMU) is None, reason=f"{QEMU} is not installed")

ROOMY = MachineLimits(memory=64 * GiB, cpus=64)


def decided(saved: Saved, *, limits: MachineLimits = ROOMY, without: Sequence[int] = ()) -> Machine:
    stored = [DiskToBoot(one.key, one.label, GiB) for one in saved.disks if one.key not in without]
    return decide(saved, stored, limits)


def changes(machine: Machine) -> Mapping[str, Change]:
    """By what they are about; the VMCI device that every VM loses is left out of them."""
    return {one.what: one for one in machine.changes if one.what != "VMCI device"}


def controller(kind: str, key: int, bus: int = 0) -> Any:
    more = {"sharedBus": "noSharing"} if "SCSI" in kind or "Logic" in kind else {}
    return getattr(device, kind)(key=key, busNumber=bus, deviceInfo=about(f"{kind} {bus}"), **more)


Command = tuple[str, Mapping[str, str]]


def asked(machine: Machine, *commands: Command, agent: bool = False, flash: Path | None = None) -> list[Any]:
    """What QEMU answers to these commands of QMP."""
    line = [QEMU, "-nodefaults", "-no-user-config", "-display", "none", "-S", "-qmp", "stdio", "-accel", "tcg"]
    for disk in machine.disks:
        line += ["-blockdev", f"driver=null-co,node-name=disk-{disk.key},size={disk.capacity}"]
    for place, _ in enumerate(machine.cards):
        line += ["-netdev", f"hubport,id=net-{place},hubid={place}"]
    for name in ("serial", "firmware-log", "agent"):
        line += ["-chardev", f"null,id={name}"]
    if flash is not None:
        for name in ("code", "vars"):
            line += ["-blockdev", f"driver=file,node-name=firmware-{name},filename={flash}"]
    line += hardware(machine, "tcg", agent=agent)
    every = (("qmp_capabilities", {}), *commands, ("quit", {}))
    sent = "".join(f"{json.dumps({'execute': name, 'arguments': with_})}\n" for name, with_ in every)
    done = subprocess.run(line, input=sent, text=True, capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answers = [json.loads(one) for one in done.stdout.splitlines()]
    assert not [one for one in answers if "error" in one]
    return [one["return"] for one in answers if "return" in one][1:-1]
