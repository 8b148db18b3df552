"""What somebody does in vSphere itself, beside our runs: VMs are looked at, switched, cloned and deleted."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from steps.lab.lab import Lab
from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.configuration import as_json
from steps.vsphere.find import find, locate
from steps.vsphere.properties import read, read_all
from steps.vsphere.section import VCenter
from steps.vsphere.tasks import finish

Place = tuple[str, int, int]
"""Type and bus of the controller, and the unit number on it."""


@dataclass
class Administrator:
    lab: Lab
    client: Client

    def vm(self, name: str) -> str:
        """Its moref."""
        return find(self.client, name)

    def names(self) -> list[str]:
        seen = read_all(self.client, vmomi.vim.VirtualMachine, ("name",), "listing VMs")
        return sorted(str(one["name"]) for one in seen.values())

    def path(self, vm: str) -> str:
        """Its inventory path."""
        return locate(self.client, vm).path

    def config(self, vm: str) -> dict[str, JsonValue]:
        config = as_json(self.property(vm, "config"))
        assert isinstance(config, dict)
        return config

    def property(self, vm: str, path: str) -> Any:
        return read(self.client, vmomi.vim.VirtualMachine, vm, (path,), f"reading {path}").get(path)

    def task(self, vm: str, method: str, **arguments: Any) -> None:
        def start(session: Any) -> str:
            machine = session.object(vmomi.vim.VirtualMachine, vm)
            return str(getattr(machine, method)(**arguments)._moId)

        finish(self.client, self.client.call(method, start), method, 30.0)

    def is_on(self, vm: str) -> bool:
        return bool(self.property(vm, "runtime.powerState") == "poweredOn")

    def delete(self, vm: str) -> None:
        if self.is_on(vm):
            self.task(vm, "PowerOffVM_Task")
        self.task(vm, "Destroy_Task")

    def disks(self, vm: str) -> dict[Place, Path]:
        """The files with the disks' bytes, by where the guest finds them."""
        devices = self.property(vm, "config.hardware.device")
        by_key = {device.key: device for device in devices}
        return {
            place_of(disk, by_key): self.file(str(disk.backing.fileName))
            for disk in devices
            if isinstance(disk, vmomi.vim.vm.device.VirtualDisk)
        }

    def files(self, vm: str) -> dict[int, Path]:
        """The same by the keys that the disks have now."""
        found = self.property(vm, "config.hardware.device")
        disks = (one for one in found if isinstance(one, vmomi.vim.vm.device.VirtualDisk))
        return {int(disk.key): self.file(str(disk.backing.fileName)) for disk in disks}

    def nvram(self, vm: str) -> bytes:
        """What is in the file that its settings name."""
        named = self.property(vm, 'config.extraConfig["nvram"]').value
        path = str(self.property(vm, "config.files.vmPathName"))
        found = re.fullmatch(r"\[(.*?)\] (.*)/[^/]*", path)
        assert found is not None, path
        return (self.lab.directory / "vcenter" / "datastores" / found[1] / found[2] / named).read_bytes()

    def file(self, name: str) -> Path:
        """``[ds] dir/x.vmdk`` as it lies in the lab's directory."""
        found = re.fullmatch(r"\[(.*?)\] (.*)\.vmdk", name)
        assert found is not None, name
        return self.lab.directory / "vcenter" / "datastores" / found[1] / f"{found[2]}-flat.vmdk"

    def references(self, vm: str, directory: Path) -> dict[Place, Path]:
        """Copies of its disks as they are now."""
        copies = {}
        directory.mkdir(exist_ok=True)
        for number, (place, file) in enumerate(self.disks(vm).items()):
            copies[place] = directory / f"{number}.raw"
            shutil.copyfile(file, copies[place])
        return copies


def place_of(device: Any, by_key: dict[int, Any]) -> Place:
    controller = by_key[device.controllerKey]
    return (type(controller).__name__.rpartition(".")[2], int(controller.busNumber), int(device.unitNumber))


def section_of(lab: Lab) -> VCenter:
    """Its vCenter, as a job has it."""
    at = lab.record.vcenter
    value = {"server": at.server, "port": at.port, "username": at.username, "tls": {"ca": at.ca}}
    return VCenter.from_json_value({**value, "password": {"file": at.password_file}})


@contextmanager
def administrator(lab: Lab) -> Iterator[Administrator]:
    with Client("lab", section_of(lab)) as client:
        yield Administrator(lab, client)
