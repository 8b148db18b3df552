"""A VM that VDDK restored is backed up again: tracking saw nothing of what was written to it, and what a changeId from before
the restore would name is not believed, under whichever identity it came back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from steps.vsphere import find, vmomi
from steps.vsphere.client import Client
from steps.vsphere.section import VCenter
from steps.vsphere.tasks import finish
from tests.e2e.site import Ran
from tests.estate import USER, VM, Estate, disk, estate, inventory, machine, of, read, scribble
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

pytestmark = pytest.mark.slow

SIZES = {2000: 3 * 1024 * 1024, 2001: 1024 * 1024}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    disks = [
        disk(2000, "3 MiB", content={"pattern": 1}),
        disk(2001, "1 MiB", 1, content={"pattern": 2}),
    ]
    with estate(tmp_path, {"prod": inventory(machine(*disks, change_tracking=True))}) as made:
        yield made


def section(site: Estate) -> VCenter:
    simulator = site.vcenter
    return VCenter.from_json_value(
        {
            "server": "127.0.0.1",
            "port": simulator.port,
            "username": USER,
            "password": {"file": str(site.directory / "password")},
            "tls": {"ca": str(simulator.ca_path)},
        }
    )


def delete(site: Estate) -> None:
    with Client("prod", section(site)) as client:
        vm = find.find(client, VM)
        for method in ("PowerOffVM_Task", "Destroy_Task"):
            task = client.call(
                method, lambda session, method=method: getattr(session.object(vmomi.vim.VirtualMachine, vm), method)()
            )
            finish(client, task._moId, method, 30.0)


def restore(site: Estate, vddk: Vddk, point: Path, identity: str) -> Ran:
    vddk.expect_vcenter(section(site), site.directory / "prod" / "datastores")
    values = {
        "repository": "main",
        "point": str(point),
        "vcenter": "prod",
        "transport": "vddk",
        "identity": identity,
        "vddk_libdir": str(vddk.libdir),
        "vddk_plugin": vddk.plugin,
    }
    job = site.directory / "restore.yaml"
    job.write_text(yaml.safe_dump({"version": 1, "include": "site.yaml", "template": "restore-vm", "vars": values}))
    ran = site.run(job)
    assert ran.exit_code == 0, ran.error
    return ran


def kinds(point: Path) -> list[str]:
    return ["incremental" if one.parent else "full" for one in read(point).disks]


@pytest.mark.parametrize("identity", ["new", "keep"])
def test_its_next_backup_is_a_full_with_its_reason_and_the_one_after_it_incremental_and_right(
    site: Estate, vddk: Vddk, identity: str
) -> None:
    job = site.job()
    first = site.backup(job)
    for key, size in SIZES.items():
        scribble(site.vcenter, key, size, seed=key)
    second = site.backup(job)
    assert kinds(second) == ["incremental", "incremental"]
    delete(site)
    # Not the newest: what tracking would name since that one is not what differs.
    restore(site, vddk, first, identity)
    for key, size in SIZES.items():
        assert site.vcenter.read(VM, key, 0, size) == site.references[str(first), key].read_bytes()

    third = site.run(job)
    assert third.exit_code == 0, third.error
    (point,) = third.points()
    assert kinds(point) == ["full", "full"]
    assert (point.parent == first.parent) is (identity == "keep")
    why = {
        "new": "this is the VM's first restore point",
        "keep": f"it is another disk than the one with its key in {second.name}",
    }
    assert third.output("parent[2000]")["reason"] == why[identity]
    assert all(of(point, key).change_id for key in SIZES)

    for key, size in SIZES.items():
        scribble(site.vcenter, key, size, seed=key + 1)
    fourth = site.backup(job)
    assert kinds(fourth) == ["incremental", "incremental"]
    site.assert_all_equal()
