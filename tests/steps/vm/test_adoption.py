"""What may be adopted, and what may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from runner.base.errors import LockedError
from runner.hosts.local import LocalHost
from steps.repository import identities, layout, vm_place
from steps.vm import adoption
from steps.vm.adoption import AnotherVmError, ChangedMeanwhileError, Comparison, HasOwnPointsError
from tests.lives import FIRST, REBUILT, SECOND, backed_up, discover, web
from tests.trails import acts
from tests.vcenter import Lab, Starts, disk


@pytest.fixture
def directory(start_vcenter: Starts, root: Path) -> Path:
    """Of the VM `web`, of which there is a point."""
    backed_up(root, discover(start_vcenter(web()), root))
    return root / f"web-{FIRST}"


def compare(lab: Lab, root: Path) -> Comparison:
    lab.repository = root
    return adoption.compare(lab.context(), "prod", "web", "main")


OLD_BIOS = {"uuid": "42130000-0000-0000-0000-00000000000f"}


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({}, id="as it was"),
        pytest.param({"disks": [disk()]}, id="its disks were restored"),
        pytest.param(OLD_BIOS, id="another BIOS uuid"),
        pytest.param({"instance_uuid": SECOND}, id="another instance uuid"),
        pytest.param({"name": "web-1"}, id="renamed"),
    ],
)
def test_a_vm_of_a_rebuilt_vcenter_can_be_adopted(
    start_vcenter: Starts, root: Path, directory: Path, change: dict[str, Any]
) -> None:
    lab = start_vcenter(web(**change), instance_uuid=REBUILT)
    found = compare(lab, root)
    assert (found.state, found.directory) == ("differs", str(directory))
    made = adoption.adopt(lab.context(), found)
    assert acts(root) == [("adopt",)]
    assert identities.read(LocalHost(), str(directory)) == (made,)
    assert (directory / layout.IDENTITIES).stat().st_mode & 0o777 == 0o600
    again = start_vcenter(web(**change), instance_uuid=REBUILT)
    assert compare(again, root).state == "known"
    vm = discover(again, root).vm
    assert len(again.warnings) == ("name" in change), "which only says that it was renamed"
    assert vm_place.look(LocalHost(), str(root), vm) == str(directory)


def test_a_vm_that_has_nothing_but_the_number_cannot(start_vcenter: Starts, root: Path, directory: Path) -> None:
    lab = start_vcenter(web(disks=[disk()], **OLD_BIOS), instance_uuid=REBUILT)
    with pytest.raises(AnotherVmError, match=f"is not the one whose restore points are in {directory}"):
        compare(lab, root)


@pytest.mark.usefixtures("directory")
def test_a_vm_with_points_of_its_own_cannot(start_vcenter: Starts, root: Path) -> None:
    lab = start_vcenter(web(instance_uuid=SECOND), instance_uuid=REBUILT)
    backed_up(root, lab.discover("web"), job="another")
    with pytest.raises(HasOwnPointsError, match=f"has its own restore points in .*{SECOND}"):
        compare(lab, root)


def test_without_a_point_there_is_nothing_to_adopt(start_vcenter: Starts, root: Path) -> None:
    assert compare(start_vcenter(web()), root).state == "first"


def test_while_a_run_has_the_vm_nothing_is_adopted(start_vcenter: Starts, root: Path, directory: Path) -> None:
    lab = start_vcenter(web(), instance_uuid=REBUILT)
    found = compare(lab, root)
    lock = LocalHost().lock(str(directory / layout.LOCK), "run 1 of nightly")
    try:
        with pytest.raises(LockedError, match="run 1 of nightly") as caught:
            adoption.adopt(lab.context(), found)
        assert caught.value.exit_code == 3
    finally:
        lock.release()
    assert identities.read(LocalHost(), str(directory)) == ()


def test_what_another_person_adopted_meanwhile_is_not_adopted_again(
    start_vcenter: Starts, root: Path, directory: Path
) -> None:
    lab = start_vcenter(web(), instance_uuid=REBUILT)
    found = compare(lab, root)
    first = adoption.adopt(lab.context(), found)
    with pytest.raises(ChangedMeanwhileError):
        adoption.adopt(lab.context(), found)
    assert identities.read(LocalHost(), str(directory)) == (first,)
