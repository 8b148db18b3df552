"""Restore points whose disks do something when they are booted, and a job whose repository has them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import layout, marker
from tests.chain import Chain
from tests.guests.boot_sectors import sector

needs_qemu = pytest.mark.skipif(
    not shutil.which("qemu-system-x86_64"), reason="qemu-system-x86 is not installed: no machine can be booted"
)

SITE = """
version: 1
repositories: {{main: {{host: local, path: {root}}}}}
"""


def saved(**changes: Any) -> dict[str, Any]:
    """A small VM with one disk on a paravirtual controller and one card."""
    label = {"_type": "Description", "summary": ""}
    return {
        "_type": "VirtualMachineConfigInfo",
        "name": "pgtest1",
        "uuid": "42130000-0000-0000-0000-000000000001",
        "guestId": "debian12_64Guest",
        "firmware": "bios",
        "annotation": "root's password is hunter2",
        "extraConfig": [{"_type": "OptionValue", "key": "guestinfo.password", "value": "hunter2"}],
        "hardware": {
            "numCPU": 1,
            "memoryMB": 64,
            "device": [
                {
                    "_type": "ParaVirtualSCSIController",
                    "key": 1000,
                    "busNumber": 0,
                    "deviceInfo": {**label, "label": "SCSI controller 0"},
                },
                {
                    "_type": "VirtualDisk",
                    "key": 2000,
                    "controllerKey": 1000,
                    "unitNumber": 0,
                    "deviceInfo": {**label, "label": "Hard disk 1"},
                },
                {
                    "_type": "VirtualVmxnet3",
                    "key": 4000,
                    "macAddress": "00:50:56:00:00:01",
                    "slotInfo": {"_type": "VirtualDevicePciBusSlotInfo", "pciSlotNumber": 192},
                    "deviceInfo": {**label, "label": "Network adapter 1"},
                },
            ],
        },
        **changes,
    }


def repository(root: Path) -> Chain:
    """An empty one."""
    marker.init(LocalHost(), str(root))
    return Chain(root)


def site(made: Chain, more: str = "") -> Path:
    """A part of a job, with that repository."""
    path = made.root.parent / "site.yaml"
    path.write_text(SITE.format(root=made.root) + more)
    return path


def add(made: Chain, first: bytes, parent: int | None = None, **changes: Any) -> Path:
    """A point whose disk begins so, and its VM's configuration; returns its directory."""
    if parent is None:
        made.now[2000] = bytearray(first.ljust(made.capacity, b"\0"))
        made.add({2000: None}, {})
    else:
        made.add({2000: parent}, {2000: [(at, 1, byte) for at, byte in enumerate(first)]})
    config = made.path(-1) / layout.VM_FILES / layout.VM_CONFIG
    config.write_text(json.dumps(saved(**changes)))
    return made.path(-1)


def login(text: str = "pgtest1 login: ") -> bytes:
    return sector("prints", text)


def run(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str, str]:
    """A command: its exit code, its standard output, its standard error."""
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out, told.err
