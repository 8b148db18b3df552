"""The discover step against the simulator."""

from __future__ import annotations

from typing import Any

import pytest

from runner.base.errors import SendenseError
from runner.step.preflight import Known
from steps.backup.discover import Discover, DiscoverIn, DisksNotCovered
from steps.values.discovered import Discovered
from steps.vsphere.errors import SnapshotRefused
from tests.vcenter import Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters


def checked(lab: Lab, recorded: Discovered | None, vm: str = "pgtest1") -> Discovered | None:
    inputs = DiscoverIn.from_json_value({"vcenter": "prod", "vm": vm})
    return Discover().check(lab.context(), inputs, recorded)


MIXED = [
    disk(),
    disk(2001, 1, mode="independent_persistent"),
    disk(2002, 2, physical=True),
]


def test_disks_come_in_key_order_with_what_identifies_them(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[disk(2016, 3), disk(2000, 1), disk(2001, 0)]))
    found = lab.discover()
    assert [(one.key, one.unit) for one in found.disks] == [(2000, 1), (2001, 0), (2016, 3)]
    assert found.uncovered == ()
    assert Discovered.from_json_value(found.to_json_value()) == found


def test_it_changes_nothing(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    lab.discover()
    assert Discover.read_only
    changing = {"CreateSnapshot_Task", "RemoveSnapshot_Task", "ReconfigVM_Task", "ConsolidateVMDisks_Task"}
    assert not changing & set(lab.simulator.calls)


INDEPENDENT = "2001 (Hard disk 2: independent (independent_persistent))"
RAW = "2002 (Hard disk 3: physical RDM)"


@pytest.mark.parametrize(
    ("more", "named"),
    [
        pytest.param({}, [INDEPENDENT, RAW], id="not-said"),
        pytest.param({"skip-uncovered": False}, [INDEPENDENT, RAW], id="false"),
        pytest.param({"skip-uncovered": [2001]}, [RAW], id="only-one-of-two"),
    ],
)
def test_uncovered_disks_are_an_error_that_names_them_and_the_word_to_write(
    start_vcenter: Starts, more: dict[str, Any], named: list[str]
) -> None:
    lab = start_vcenter(machine(disks=MIXED))
    with pytest.raises(DisksNotCovered) as caught:
        lab.discover(**more)
    assert str(caught.value) == (
        f"a snapshot does not cover these disks of pgtest1: {', '.join(named)}; leave them out with `skip-uncovered: [2001, "
        "2002]` on discover (in `template: backup` the variable `skip_uncovered`)"
    )


@pytest.mark.parametrize("skip", [True, [2001, 2002]], ids=["all", "by-key"])
def test_uncovered_disks_are_left_out_where_the_job_says_so_and_named_all_the_same(
    start_vcenter: Starts, skip: Any
) -> None:
    lab = start_vcenter(machine(disks=MIXED))
    found = lab.discover(**{"skip-uncovered": skip})
    assert [one.key for one in found.disks] == [2000]
    assert [one.key for one in found.uncovered] == [2001, 2002]
    assert len(lab.warnings) == 1
    assert "2001 (Hard disk 2" in lab.warnings[0]
    assert "2002 (Hard disk 3" in lab.warnings[0]


def test_a_vm_with_no_covered_disk_has_nothing_to_back_up(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(disks=[disk(physical=True)]))
    with pytest.raises(DisksNotCovered, match="pgtest1 has no disk that a snapshot covers"):
        lab.discover(**{"skip-uncovered": True})


def test_a_template_is_refused_with_a_sentence(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine("golden", template=True, powered_on=False))
    with pytest.raises(SnapshotRefused, match="golden: it is a template"):
        lab.discover("golden")


def test_a_record_stands_while_it_is_the_same_vm(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    assert checked(lab, None) is None
    assert checked(lab, found) == found
    lab.snapshot(found)  # names of live files change with it
    assert checked(lab, found) == found


@pytest.mark.parametrize(
    "change",
    [
        pytest.param({"moref": "vm-9999"}, id="moref"),
        pytest.param({"instance_uuid": "50130000-0000-0000-0000-000000000000"}, id="instance-uuid"),
        pytest.param({"vcenter_uuid": "5e0d0000-0000-0000-0000-000000000000"}, id="vcenter"),
    ],
)
def test_a_record_of_another_vm_does_not_stand(start_vcenter: Starts, change: dict[str, str]) -> None:
    lab = start_vcenter()
    found = lab.discover()
    other = found.model_copy(update={"vm": found.vm.model_copy(update=change)})
    assert checked(lab, other) is None


@pytest.mark.parametrize("name", ["web 1", "Größe/äöü", "a:b,c", "-disk1-", "..", "100% real"])
def test_names_are_as_people_write_them(start_vcenter: Starts, name: str) -> None:
    lab = start_vcenter(machine(name))
    assert lab.discover(name).vm.name == name


def test_a_wrong_password_fails_the_first_step_of_a_job(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    (lab.scratch / "password").write_text("wrong")
    with pytest.raises(SendenseError, match="wrong user name or password"):
        lab.discover()


def test_that_copies_of_an_encrypted_vm_are_plain_text_is_said_in_plan_and_report(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine(encrypted=True), machine("open"))
    found = lab.discover()
    said = "its copies in the repository are plain text"
    step, told = Discover(), {"vcenter": "prod", "vm": "pgtest1"}
    assert any(said in one.text for one in step.preflight(None, Known(told=told, out=found)).settings)
    assert any(said in one.text for one in step.report(found).statements)
    plain = lab.discover("open")
    assert not plain.encrypted
    assert not any("plain" in one.text for one in step.report(plain).statements)
