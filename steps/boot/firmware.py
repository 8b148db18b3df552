"""What a machine's firmware is started with."""

from __future__ import annotations

import json
import posixpath
from dataclasses import dataclass

from runner.hosts.host import Host
from runner.step.context import Context
from steps.boot import ovmf
from steps.values.machine import Machine


@dataclass(frozen=True)
class Firmware:
    name: str
    """``BIOS (SeaBIOS)``, ``EFI (OVMF), secure boot``"""
    machine: Machine
    """The machine, as this firmware needs it."""
    arguments: tuple[str, ...] = ()
    """Of QEMU."""


def prepare(ctx: Context, host: Host, machine: Machine, directory: str) -> Firmware:
    """Its variables are a copy in `directory`, which QEMU opens. Raises OvmfMissing, HostError."""
    if machine.firmware == "bios":
        return Firmware("BIOS (SeaBIOS)", machine)
    build = ovmf.find(ctx, host, machine.firmware)
    variables = posixpath.join(directory, "firmware-vars")
    host.write(variables, ovmf.template(host, build, directory))
    # Who has no build with keys boots without secure boot, and some have none without SMM.
    needed = machine.model_copy(update={"firmware": "efi-secure" if build.smm else "efi"})
    code = {
        "driver": build.format,
        "node-name": "firmware-code",
        "read-only": True,
        "file": {"driver": "file", "filename": build.code, "read-only": True},
    }
    written = {
        "driver": "raw",
        "node-name": "firmware-vars",
        "file": {"driver": "file", "filename": variables},
    }
    nodes = ("-blockdev", json.dumps(code), "-blockdev", json.dumps(written))
    return Firmware(build.words, needed, nodes)
