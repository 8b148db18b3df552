"""A VM comes back into vCenter: by an import lease and through VDDK, byte by byte, and what was it before in all else."""

from __future__ import annotations

import filecmp
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from steps.lab.lab import Lab
from steps.vsphere import marks
from tests.chains import manifest_of
from tests.e2e.administrator import Administrator, Place, administrator
from tests.e2e.site import Listener, Ran, Site, disk, same
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

CONTROLLERS = [
    {"key": 1000, "kind": "lsilogic-sas", "bus": 0},
    {"key": 1001, "kind": "pvscsi", "bus": 1},
    {"key": 15000, "kind": "sata", "bus": 0},
    {"key": 31000, "kind": "nvme", "bus": 0},
]
FOUR = [
    disk(2000, "5 MiB", 0, 1),
    disk(2017, "1 MiB + 512 B", 1, 2, controller=1001),
    disk(16000, "3 MiB", 2, 3, controller=15000),
    {**disk(32000, "2 MiB + 1 KiB", 0, 4, controller=31000), "thin": False},
]
SEVEN = [disk(2000 + unit, "1 MiB", unit, 7) for unit in range(7)]
"""Equal in all but their places and a block each, which the test writes."""

INVENTORY = {
    "datacenters": [
        {
            "name": "DC1",
            "datastores": [
                {"name": "datastore1", "kind": "vmfs", "capacity": "4 TiB"},
                {"name": "ssd1", "kind": "vmfs", "capacity": "1 TiB"},
                {"name": "small", "kind": "vmfs", "capacity": "2 MiB"},
            ],
            "networks": ["VM Network", "storage"],
            "vms": [
                {
                    "name": "web",
                    "folder": "production",
                    "datastore": "datastore1",
                    "firmware": "efi",
                    "secure_boot": True,
                    "cpus": 2,
                    "memory": "4 GiB",
                    "annotation": "the shop",
                    "attributes": {"owner": "anna"},
                    "tags": ["backup/gold"],
                    "extra_config": {"guestinfo.password": "hunter2", "sched.cpu.latencySensitivity": "normal"},
                    "networks": [{"network": "VM Network", "mac": "00:50:56:9a:10:01"}],
                    "controllers": CONTROLLERS,
                    "disks": FOUR,
                },
                {
                    "name": "seven",
                    "datastore": "datastore1",
                    "controllers": [{"key": 1000, "kind": "pvscsi"}],
                    "disks": SEVEN,
                },
                {"name": "spare", "folder": "spare", "datastore": "ssd1", "controllers": [], "disks": []},
            ],
        }
    ]
}


@dataclass
class Backed:
    """A VM that was backed up, as it was then; it may be gone since."""

    name: str
    point: Path
    disks: dict[Place, Path]
    config: dict[str, Any]


@pytest.fixture(scope="module")
def admin(lab: Lab) -> Iterator[Administrator]:
    with administrator(lab) as one:
        yield one


def back_up(site: Site, admin: Administrator, name: str, references: Path) -> Backed:
    ran = site.run(name, transport="https")
    assert ran.exit_code == 0, ran.error
    vm = admin.vm(name)
    return Backed(name, ran.points()[-1], admin.references(vm, references), admin.config(vm))


@pytest.fixture(scope="module")
def web(lab: Lab, admin: Administrator, tmp_path_factory: pytest.TempPathFactory) -> Backed:
    """Deleted in vSphere once it was backed up."""
    backed = back_up(Site(lab, tmp_path_factory.mktemp("state")), admin, "web", tmp_path_factory.mktemp("references"))
    admin.delete(admin.vm("web"))
    return backed


@pytest.fixture(scope="module")
def seven(lab: Lab, admin: Administrator, tmp_path_factory: pytest.TempPathFactory) -> Backed:
    for unit in range(7):
        lab.write("seven", 2000 + unit, 0, iter([bytes([unit]) * 512]))
    return back_up(Site(lab, tmp_path_factory.mktemp("state")), admin, "seven", tmp_path_factory.mktemp("references"))


@dataclass
class Restores:
    """Runs of `template: restore-vm`, by either way."""

    site: Site
    admin: Administrator
    vddk: Vddk | None

    def __call__(self, backed: Backed, way: str, *listeners: Listener, **variables: Any) -> dict[str, Any]:
        """What finalize-vm gave."""
        ran = self.run(backed, way, *listeners, **variables)
        assert ran.exit_code == 0, ran.error
        return ran.output("finalize")

    def run(self, backed: Backed, way: str, *listeners: Listener, **variables: Any) -> Ran:
        values = {"repository": "main", "point": str(backed.point), "vcenter": "lab", "transport": way, **variables}
        values |= {"spool": str(self.site.state / "spool")}
        if self.vddk is not None:
            values |= {"vddk_libdir": str(self.vddk.libdir), "vddk_plugin": self.vddk.plugin}
        job = self.site.directory / "jobs" / "restore-vm.yaml"
        document = {"version": 1, "include": "../site.yaml", "template": "restore-vm", "vars": values}
        job.write_text(yaml.safe_dump(document))
        return self.site.run(job, *listeners)


@pytest.fixture
def restores(site: Site, admin: Administrator, way: str, request: pytest.FixtureRequest) -> Restores:
    """An import lease takes no VMware library, and nor does its test."""
    library: Vddk | None = request.getfixturevalue("vddk") if way == "vddk" else None
    if library is not None:
        library.expect_vcenter(admin.client.vcenter, site.lab.directory / "vcenter" / "datastores")
    return Restores(site, admin, library)


WAYS = pytest.mark.parametrize("way", ["lease", "vddk"])


def differing(admin: Administrator, vm: str, backed: Backed) -> set[Place]:
    """Places of the disks that are another there, or not there at all."""
    found = admin.disks(vm)
    return {
        place
        for place in found.keys() | backed.disks.keys()
        if place not in found
        or place not in backed.disks
        or not filecmp.cmp(found[place], backed.disks[place], shallow=False)
    }


def marked(admin: Administrator) -> list[str]:
    return [one.name for one in marks.find(admin.client, marks.RESTORE)]


ITS_OWN = frozenset(
    [
        "changeVersion",
        "modified",
        "name",
        "instanceUuid",
        "uuid",
        "key",
        "controllerKey",
        "device",
        "fileName",
        "contentId",
        "diskObjectId",
        "macAddress",
        "addressType",
        "summary",
        "connected",
        "vmPathName",
        "logDirectory",
        "snapshotDirectory",
        "suspendDirectory",
        "nvram",
    ]
)
"""What the plan names as new, what vSphere counts by itself, and names of files."""


def traits(config: Any) -> Any:
    """A saved configuration without what is every VM's own; devices by what people call them."""
    match config:
        case {"device": [{"_type": _}, *_] as devices, **rest}:
            named = {str(one["deviceInfo"]["label"]).removesuffix(" 1"): traits(one) for one in devices}
            for one in named.values():
                one.pop("deviceInfo")
                if "Controller" in one["_type"]:
                    one.pop("unitNumber", None)  # on the PCI bus; disks keep theirs
                if one["_type"] == "VirtualCdrom":
                    one.pop("connectable", None)  # nothing is put into a drive that had nothing in it
            return {**traits(rest), "device": named}
        case dict():
            return {key: traits(value) for key, value in config.items() if key not in ITS_OWN}
        case [{"_type": "OptionValue"}, *_]:
            return {one["key"]: one.get("value") for one in config if one["key"] not in ITS_OWN}
        case list():
            return [traits(one) for one in config]
    return config


@WAYS
def test_a_deleted_vm_comes_back_byte_by_byte_and_as_it_was_and_its_next_backup_is_right(
    restores: Restores, web: Backed, admin: Administrator, tmp_path: Path, way: str
) -> None:
    restored = restores(web, way)
    vm = str(restored["moref"])
    assert restored["name"] == "web"
    assert differing(admin, vm, web) == set()
    assert traits(admin.config(vm)) == traits(web.config)
    (nvram,) = (web.point / "vm").glob("*.nvram")
    assert admin.nvram(vm) == nvram.read_bytes()
    assert not admin.is_on(vm)
    assert marked(admin) == []
    again = back_up(restores.site, admin, "web", tmp_path / "references")
    assert [disk.parent for disk in manifest_of(again.point).disks] == [None] * 4
    files = admin.files(vm)
    assert len(files) == 4
    for key, file in files.items():
        assert same(file, again.point / f"disk-{key}.qcow2")
    admin.delete(vm)


@WAYS
def test_seven_equal_disks_are_not_swapped_however_often_they_come_back(
    restores: Restores, seven: Backed, admin: Administrator, way: str
) -> None:
    for name in ("first", "second"):
        vm = str(restores(seven, way, name=name)["moref"])
        assert differing(admin, vm, seven) == set()
        admin.delete(vm)
