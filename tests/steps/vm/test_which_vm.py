"""Which VM a job means, over what happens to VMs: renamed, moved, registered again, recreated, cloned, of another vCenter."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import HostError
from runner.hosts.host import Completed
from runner.hosts.local import LocalHost
from steps.repository import layout
from steps.repository.vm_place import OtherVcenterError, look
from steps.values.discovered import Discovered
from steps.vm.which_vm import NotAdopted
from steps.vsphere.find import Ambiguous, NotFound
from tests.lives import BIOS, FIRST, REBUILT, SECOND, backed_up, discover, other, web
from tests.vcenter import Starts, disk, machine

pytestmark = pytest.mark.slow


@pytest.fixture
def before(start_vcenter: Starts, root: Path) -> Discovered:
    """The VM `web`, of which there is a point."""
    found = discover(start_vcenter(web()), root)
    backed_up(root, found)
    return found


ONE_VM = [
    pytest.param({"name": "web-1"}, True, id="renamed"),
    pytest.param({"folder": "moved"}, False, id="moved"),
    pytest.param({"directory": "elsewhere"}, False, id="storage moved"),
]
OTHER_BIOS = "42130000-0000-0000-0000-00000000000f"


@pytest.mark.parametrize(("change", "told"), ONE_VM)
@pytest.mark.usefixtures("before")
def test_a_vm_stays_the_one_that_was_backed_up(
    start_vcenter: Starts, root: Path, change: dict[str, Any], told: bool
) -> None:
    lab = start_vcenter(machine("first"), web(**change))  # its moref is another too, as after registering it again
    found = discover(lab, root)
    assert found.vm.instance_uuid == FIRST
    assert bool(lab.warnings) == told
    if told:
        assert (
            "the VM that this job backed up before as 'web' is DC1/vm/web-1 (vm-17, instance uuid 1111"
            in lab.warnings[0]
        )
    assert look(LocalHost(), str(root), found.vm) == str(root / f"web-{FIRST}")


@pytest.mark.usefixtures("before")
def test_a_bios_uuid_that_changed_is_told(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(uuid=OTHER_BIOS))
    assert discover(lab, root).vm.instance_uuid == FIRST
    (warning,) = lab.warnings
    assert f"the BIOS uuid of 'web' is {OTHER_BIOS} now, and was {BIOS} at its last backup" in warning


@pytest.mark.usefixtures("before")
def test_a_vm_that_was_recreated_is_another_one_and_the_points_of_the_first_are_told_of(
    start_vcenter: Starts, root: Path
) -> None:
    lab = start_vcenter(other())
    found = discover(lab, root)
    assert found.vm.instance_uuid == SECOND
    assert look(LocalHost(), str(root), found.vm) == str(root / f"web-{SECOND}")
    (warning,) = lab.warnings
    assert warning == (
        f"another VM than the one this job backed up before: 'web' is DC1/vm/web (vm-16, instance uuid {SECOND}) now; the one "
        f"this job backed up before (DC1/vm/web, instance uuid {FIRST}, last backed up 2026-11-20 01:35 UTC) is no longer in vCenter "
        "prod; this one gets its own restore points, starting with a full"
    )
    (kept,) = found.kept
    assert kept == (
        f"1 restore point of another VM that this job backed up before as 'web' (instance uuid {FIRST}, last 2026-11-20 01:35 "
        f"UTC) stays in {root}/web-{FIRST}: this job's retention leaves it alone, and `sendense prune JOB {FIRST} --keep-last N` "
        "prunes it"
    )
    backed_up(root, found, 1)
    later = start_vcenter(other())
    assert discover(later, root).kept == found.kept, "they do not fall out of sight after the first night"
    assert later.warnings == []


@pytest.mark.usefixtures("before")
def test_of_two_vms_of_one_name_the_one_that_was_backed_up_is_meant(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(), other(folder="clones", directory="web2"))
    assert discover(lab, root).vm.instance_uuid == FIRST
    (warning,) = lab.warnings
    assert (
        "the backup continues with the one that was backed up before, DC1/vm/web (vm-16, instance uuid 1111" in warning
    )
    assert f"and not with DC1/vm/clones/web (vm-17, instance uuid {SECOND})" in warning


def test_without_an_earlier_backup_two_vms_of_one_name_are_an_error(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(), other(folder="clones", directory="web2"))
    with pytest.raises(Ambiguous, match=f"'web' matches 2 VMs: .*{SECOND}.*{FIRST}"):
        discover(lab, root)


def test_of_two_vms_of_one_name_the_one_that_another_job_backed_up_under_it_is_meant(
    start_vcenter: Starts, root: Path
) -> None:
    """The job has another name than before."""
    backed_up(root, discover(start_vcenter(web()), root), job="an-older-name")
    lab = start_vcenter(web(), other(folder="clones", directory="web2"))
    assert discover(lab, root).vm.instance_uuid == FIRST
    backed_up(root, start_vcenter(other()).discover("web"), job="of-the-clone")
    with pytest.raises(Ambiguous):
        discover(lab, root)


def test_a_vm_that_was_renamed_stays_the_one_though_another_has_its_name(
    start_vcenter: Starts, root: Path, before: Discovered
) -> None:
    """Every night, not only until there is a point that has its new name."""
    lab = start_vcenter(web(name="web-old"), other())
    for day in (1, 2):
        found = discover(lab, root)
        assert found.vm.name == "web-old"
        backed_up(
            root, before.model_copy(update={"vm": before.vm.model_copy(update={"name": "web"})}), day, name="web-old"
        )
    assert len(lab.warnings) == 2
    assert f"and not with DC1/vm/web (vm-17, instance uuid {SECOND}), which is another VM" in lab.warnings[1]
    assert discover(lab, root, "DC1/vm/web").vm.instance_uuid == SECOND, "a path says which one is meant"


@pytest.mark.usefixtures("before")
def test_what_other_jobs_call_a_vm_is_nothing_to_this_one(
    start_vcenter: Starts, root: Path, before: Discovered
) -> None:
    lab = start_vcenter(web(name="web-old"), other())
    backed_up(root, before, 1, job="another")
    assert discover(lab, root).vm.instance_uuid == SECOND
    assert lab.warnings == []


@pytest.mark.usefixtures("before")
def test_a_point_that_does_not_say_what_the_job_called_its_vm_counts_by_the_vms_name(
    start_vcenter: Starts, root: Path, before: Discovered
) -> None:
    backed_up(root, before, 1, asked="")
    lab = start_vcenter(web(), other(folder="clones", directory="web2"))
    assert discover(lab, root).vm.instance_uuid == FIRST


def test_a_job_may_have_vms_of_one_name_from_two_vcenters(
    start_vcenter: Starts, root: Path, before: Discovered
) -> None:
    theirs = discover(start_vcenter(other(), instance_uuid=REBUILT), root)
    backed_up(root, theirs, 1)
    lab = start_vcenter(web())
    assert discover(lab, root) == before
    assert lab.warnings == []


def test_a_damaged_newest_point_and_a_repository_that_is_away_keep_nobody_from_a_vm_named_without_doubt(
    start_vcenter: Starts, root: Path, before: Discovered
) -> None:
    newest = backed_up(root, before, 1)
    (root / f"web-{FIRST}" / newest.point / layout.MANIFEST).write_bytes(b"{")
    lab = start_vcenter(web(), other(folder="clones", directory="web2"))
    assert discover(lab, root).vm.instance_uuid == FIRST
    lab.host = Away()
    with pytest.raises(Ambiguous, match="the hub is away"):
        discover(lab, root)
    alone = start_vcenter(web())
    alone.host = Away()
    assert discover(alone, root).vm.instance_uuid == FIRST


class Away(LocalHost):
    def run(self, *argv: object, **options: object) -> Completed:
        raise HostError("the hub is away", transient=True)


@pytest.mark.usefixtures("before")
def test_a_vm_that_is_gone_is_told_with_what_was_backed_up(start_vcenter: Starts, root: Path) -> None:
    with pytest.raises(
        NotFound, match=f"there is no VM 'web' .* backed up before \\(DC1/vm/web, instance uuid {FIRST}"
    ):
        discover(start_vcenter(other(name="db")), root)


@pytest.mark.usefixtures("before")
def test_a_vcenter_that_was_rebuilt_is_refused_with_the_command_that_adopts(start_vcenter: Starts, root: Path) -> None:
    found = discover(start_vcenter(web(), instance_uuid=REBUILT), root)
    with pytest.raises(OtherVcenterError, match=r"of another vCenter, .*`sendense adopt JOB` shows both"):
        look(LocalHost(), str(root), found.vm)


@pytest.mark.parametrize("name", ["web", "web-new"])
@pytest.mark.usefixtures("before")
def test_another_instance_uuid_with_the_same_bios_uuid_and_disks_is_a_question_for_a_person(
    start_vcenter: Starts, root: Path, name: str
) -> None:
    lab = start_vcenter(web(name=name, instance_uuid=SECOND), instance_uuid=REBUILT)
    with pytest.raises(NotAdopted, match="the same BIOS uuid and the same disks: `sendense adopt JOB` shows both"):
        discover(lab, root)


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"disks": [disk()]}, id="a clone has disks of its own"),
        pytest.param({"uuid": OTHER_BIOS}, id="a disk was moved to a new VM"),
    ],
)
@pytest.mark.usefixtures("before")
def test_a_bios_uuid_or_disks_alone_do_not_make_it_the_same_vm(
    start_vcenter: Starts, root: Path, change: dict[str, Any]
) -> None:
    lab = start_vcenter(web(instance_uuid=SECOND, **change))
    assert discover(lab, root).vm.instance_uuid == SECOND
    assert "another VM than the one this job backed up before" in lab.warnings[0]
