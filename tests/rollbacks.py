"""A VM that is off, its backups, and the stand-in for VMware's library that a rollback writes its disks with."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pyVmomi import vim

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.copy.extents import PART
from steps.repository import verification_records
from steps.vsphere import marks, rolled_back
from steps.vsphere.section import VCenter
from steps.vsphere.tls import sha1_thumbprint, trust
from tests.estate import PASSWORD, USER, VM, Estate, disk, estate, inventory, machine, read, scribble
from tests.simulation import Client
from tests.vddk_library import Vddk

SIZES = {2000: 12 << 20, 2001: (3 << 20) + 512}
DISKS = tuple(
    disk(key, f"{size} B", number, content={"pattern": number + 1}) for number, (key, size) in enumerate(SIZES.items())
)


@dataclass
class Rolling:
    """`point` is a backup of the VM, made before whatever is put back."""

    estate: Estate
    vddk: Vddk
    job: Path
    point: Path
    sizes: Mapping[int, int]

    @property
    def state(self) -> Path:
        return self.estate.directory / "state"

    @property
    def client(self) -> Client:
        return Client.of(self.estate.vcenter)

    def sendense(self, *argv: str) -> int:
        """The exit code of a command on the VM's own backup job."""
        with pytest.raises(SystemExit) as left:
            main([argv[0], str(self.job), *argv[1:], "--state", str(self.state)])
        return int(left.value.code or 0)

    def rollback(self, *options: str, point: str = "") -> int:
        return self.sendense("rollback", point or self.point.name, *options)

    def live(self) -> dict[int, bytes]:
        """By key: what a guest would read."""
        return {key: self.estate.vcenter.read(VM, key, 0, size) for key, size in self.sizes.items()}

    def then(self, point: Path | None = None) -> dict[int, bytes]:
        """What the disks were when the point was made."""
        return {key: self.estate.references[str(point or self.point), key].read_bytes() for key in self.sizes}

    def change(self, *keys: int, seed: int = 1) -> dict[int, bytes]:
        """What a guest does in a day; what its disks are then."""
        for key in keys or self.sizes:
            scribble(self.estate.vcenter, key, self.sizes[key], seed + key)
        return self.live()

    @contextmanager
    def powered_on(self) -> Iterator[None]:
        machine = self.client.vm(f"DC1/vm/{VM}")
        self.client.wait(machine.PowerOnVM_Task())
        yield
        self.client.wait(machine.PowerOffVM_Task())

    def setting(self, key: str) -> str:
        """Of the VM's advanced settings; empty for none."""
        found = (one.value for one in self.client.vm(f"DC1/vm/{VM}").config.extraConfig if one.key == key)
        return str(next(found, ""))

    def set(self, settings: Mapping[str, str]) -> None:
        """Of the advanced settings; an empty value deletes one."""
        option = [vim.option.OptionValue(key=key, value=value) for key, value in settings.items()]
        self.client.wait(self.client.vm(f"DC1/vm/{VM}").ReconfigVM_Task(vim.vm.ConfigSpec(extraConfig=option)))

    @property
    def is_marked(self) -> bool:
        return bool(self.setting(marks.ROLLBACK))

    def put_back(self) -> dict[str, str]:
        """The run, by the backing uuid of each disk that is noted as put back."""
        return dict(rolled_back.parse(self.setting(rolled_back.KEY)).disks)

    def written(self) -> dict[int, set[int]]:
        """By key: offsets of the parts of 64 KiB that were written, as the library was asked."""
        names = {self.estate.vcenter.disk_file(VM, key).name: key for key in self.sizes}
        found: dict[int, set[int]] = {key: set() for key in self.sizes}
        for name, offset, length in self.vddk.requests("w"):
            found[names[name]] |= set(range(offset // PART * PART, offset + length, PART))
        return found

    def points(self) -> list[Path]:
        """All of the VM's, oldest first."""
        found = [path.parent for path in self.point.parent.glob("*/manifest.json") if "partial" not in path.parent.name]
        return sorted(found, key=lambda path: read(path).sequence or 0)

    def protected(self) -> set[str]:
        host = LocalHost()
        return {path.name for path in self.points() if verification_records.read(host, str(path)).protected}


def parts_that_differ(one: bytes, other: bytes) -> set[int]:
    """Offsets of the parts of 64 KiB."""
    return {at for at in range(0, len(one), PART) if one[at : at + PART] != other[at : at + PART]}


@contextmanager
def rolling(
    directory: Path, vddk: Vddk, *disks: dict[str, Any], sizes: Mapping[int, int] = SIZES, **more: Any
) -> Iterator[Rolling]:
    """With one backup. `more`: of the inventory."""
    machine_ = machine(*(disks or DISKS), powered_on=False, change_tracking=True)
    with estate(directory, {"prod": inventory(machine_, **more)}) as made:
        job = made.job(vddk_libdir=str(vddk.libdir), vddk_plugin=vddk.plugin)
        point = made.backup(job)
        at = made.vcenter
        section = VCenter.from_json_value(
            {
                "server": "127.0.0.1",
                "port": at.port,
                "username": USER,
                "password": {"file": str(directory / "password")},
                "tls": {"ca": str(at.ca_path)},
            }
        )
        vddk.expect(
            user=USER,
            password=PASSWORD,
            thumbprint=sha1_thumbprint(section, trust(section)),
            vm=f"moref={read(point).vm.moref}",
            snapshot="",
            transports="nbdssl",
            root=str(directory / "prod" / "datastores"),
        )
        yield Rolling(made, vddk, job, point, sizes)
