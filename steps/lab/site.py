"""What a lab writes for people to run: site.yaml, and a job file for each VM."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from pydantic import JsonValue

from runner.base.render import render_template
from runner.base.slug import slug
from runner.hosts import files
from runner.hosts.spec import SshSpec
from steps.lab.record import LabDisk, LabRecord, LabVM, VCenterAt
from steps.lab.simulator import Inventory, Simulator
from steps.lab.simulator.entities import escape, unescape
from steps.lab.simulator.inventory import DatacenterSpec
from steps.lab.simulator.machine_spec import DiskSpec, MachineSpec

SITE = "site.yaml"
JOBS = "jobs"


def describe_vms(inventory: Inventory, simulator: Simulator, directory: Path) -> tuple[LabVM, ...]:
    """The VMs in the inventory's order, with the job files that `write` will make in `directory`."""
    jobs: Counter[str] = Counter()
    vms = []
    for machine, path in _machines(inventory):
        name = slug(machine.name)
        jobs[name.lower()] += 1  # where `A` and `a` are one file
        number = jobs[name.lower()]
        job = directory / JOBS / (f"{name}.yaml" if number == 1 else f"{name}-{number}.yaml")
        disks = tuple(
            LabDisk(
                key=disk.key,
                size=disk.size,
                file=str(simulator.disk_file(path, disk.key)),
                covered=_covered(machine, disk),
            )
            for disk in machine.disks
        )
        vms.append(LabVM(name=unescape(escape(machine.name)), path=path, job=str(job), disks=disks))
    return tuple(vms)


def write(directory: Path, record: LabRecord) -> None:
    """site.yaml and the job files; those of an earlier start are replaced."""
    _write(directory / SITE, "lab/site", **_values(record.vcenter, record.store, record.repository))
    names = Counter(vm.name for vm in record.vms)
    for vm in record.vms:
        left_out: list[JsonValue] = [disk.key for disk in vm.disks if not disk.covered]
        wanted = vm.name if names[vm.name] == 1 else vm.path
        _write(Path(vm.job), "lab/job", vm=wanted, skip_uncovered=left_out or False)


def _values(vcenter: VCenterAt, store: SshSpec, repository: str) -> dict[str, JsonValue]:
    assert store.identity is not None and store.host_key is not None, "the lab's own sshd has both"
    return {
        "ssh": store.ssh,
        "ssh_port": store.port,
        "identity": store.identity.file,
        "host_key": store.host_key,
        "server": vcenter.server,
        "port": vcenter.port,
        "username": vcenter.username,
        "password_file": vcenter.password_file,
        "ca": vcenter.ca,
        "repository": repository,
        "state": "state",
    }


def _write(path: Path, template: str, **values: JsonValue) -> None:
    files.make_directory(str(path.parent))
    files.write(str(path), render_template(template, values).encode())


def _machines(inventory: Inventory) -> Iterator[tuple[MachineSpec, str]]:
    """Each VM with its inventory path."""
    for datacenter in inventory.datacenters:
        for machine in datacenter.vms:
            yield machine, _path(datacenter, machine)


def _path(datacenter: DatacenterSpec, machine: MachineSpec) -> str:
    above, below = (filter(None, folder.split("/")) for folder in (datacenter.folder, machine.folder))
    return "/".join(map(escape, (*above, datacenter.name, "vm", *below, machine.name)))


def _covered(machine: MachineSpec, disk: DiskSpec) -> bool:
    shared_buses = {controller.key for controller in machine.controllers if controller.sharing != "none"}
    alone = disk.sharing == "none" and disk.controller not in shared_buses
    return alone and not disk.physical and not disk.mode.startswith("independent")
