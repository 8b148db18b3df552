"""Marks in VMs' advanced settings: found by one look over all VMs, and nothing unread is taken for unmarked."""

from __future__ import annotations

import pytest

from steps.vsphere import marks
from steps.vsphere.errors import Gone
from tests.marked_vms import of_run
from tests.vcenter import RUN, Lab, Starts, machine, vcenters

start_vcenter = vcenters


def marked(name: str, value: str = "") -> dict[str, object]:
    return machine(name, extra_config={marks.RESTORE: value or of_run(), "guestinfo.x": "y"})


def found(lab: Lab, key: str = marks.RESTORE) -> dict[str, str]:
    return {one.name: one.value for one in marks.find(lab.client, key)}


def test_all_vms_with_a_mark_are_found_by_one_look(start_vcenter: Starts) -> None:
    lab = start_vcenter(marked("a"), machine("b"), marked("c/d"), machine("e"))
    assert lab.client is not None
    before = lab.simulator.calls["RetrievePropertiesEx"]
    assert found(lab) == {"a": of_run(), "c/d": of_run()}
    assert lab.simulator.calls["RetrievePropertiesEx"] == before + 1
    assert found(lab, marks.ROLLBACK) == {}
    (mark, _) = [one.mark for one in marks.find(lab.client, marks.RESTORE)]
    assert mark is not None
    assert mark.run == RUN


def test_a_vm_that_the_account_may_not_read_is_none_of_ours(start_vcenter: Starts) -> None:
    lab = start_vcenter(marked("a"), {**marked("b"), "unreadable": ["config"]})
    assert list(found(lab)) == ["a"]


def test_a_mark_is_put_and_removed_and_other_settings_stay(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine("a", extra_config={"guestinfo.x": "y"}))
    vm = lab.discover("a").vm.moref
    assert marks.of(lab.client, vm, marks.ROLLBACK) is None
    marks.put(lab.client, vm, marks.ROLLBACK, of_run())
    assert marks.of(lab.client, vm, marks.ROLLBACK) == of_run()
    for _ in range(2):
        marks.remove(lab.client, vm, marks.ROLLBACK)
        assert found(lab, marks.ROLLBACK) == {}
    assert marks.of(lab.client, vm, "guestinfo.x") == "y"
    with pytest.raises(Gone):
        marks.of(lab.client, "vm-4711", marks.ROLLBACK)
