"""What the steps of a backup say of their outputs, as the report of a run shows it."""

from __future__ import annotations

import pytest
from pydantic import JsonValue

from runner.events.step_report import StepReport
from runner.step.registry import Registry

SOURCE: dict[str, JsonValue] = {
    "snapshot": "snapshot-7",
    "created": "2026-11-20T00:00:00Z",
    "disk_key": 2000,
    "backing_uuid": "6000C29a",
    "capacity": 512,
    "transport": "https",
    "why": "its file is a flat base file",
    "uris": ["nbd+unix:///?socket=a", "nbd+unix:///?socket=b"],
    "extents": False,
}
VM: dict[str, JsonValue] = {
    "vcenter": "prod",
    "vcenter_uuid": "u",
    "moref": "vm-1",
    "name": "a",
    "inventory_path": "DC/vm/a",
    "instance_uuid": "i",
    "bios_uuid": "b",
    "datacenter": "DC",
    "firmware": "efi",
    "cpus": 1,
    "memory": 1,
    "guest": "g",
    "hardware_version": "vmx-19",
    "vmx_file": "[ds] a/a.vmx",
    "networks": [],
}


@pytest.fixture(scope="module")
def registry() -> Registry:
    return Registry.installed()


def said(report: StepReport) -> list[str]:
    return [statement.text for statement in report.statements]


def test_how_a_disk_was_read_is_noted(registry: Registry) -> None:
    assert said(registry.report("open-source", SOURCE)) == [
        "Disk 2000 was read from snapshot snapshot-7 over https, at most 2 connections: its file is a flat base file."
    ]


def test_which_vm_it_was_and_where_its_points_are(registry: Registry) -> None:
    found: dict[str, JsonValue] = {"vm": VM, "disks": [], "uncovered": [], "change_tracking": False}
    (row,) = registry.report("discover", found).rows
    assert (row.table, row.key) == ("VM", "a")
    told = {column: cell.value for column, cell in row.cells.items()}
    assert told == {"Inventory path": "DC/vm/a", "Instance UUID": "i", "vCenter": "prod", "The vCenter's UUID": "u"}
    held: dict[str, JsonValue] = {"repository": "main", "lock": "/r/a-i/.lock", "host": "hub", "uuid": "8"}
    (row,) = registry.report("reserve", held).rows
    assert (row.table, row.key) == ("Repository", "main")
    told = {column: cell.value for column, cell in row.cells.items()}
    assert told == {"Host": "hub", "UUID": "8", "The VM's directory": "/r/a-i"}


def test_disks_that_were_left_out_are_noted_also_when_discover_is_kept(registry: Registry) -> None:
    uncovered: list[JsonValue] = [{"key": 2002, "label": "Hard disk 3", "capacity": 512, "why": "independent"}]
    output: dict[str, JsonValue] = {"vm": VM, "disks": [], "uncovered": [], "change_tracking": False}
    assert said(registry.report("discover", output)) == []
    assert said(registry.report("discover", output | {"uncovered": uncovered})) == [
        "Not backed up, since a snapshot does not cover them: disks 2002 (Hard disk 3: independent)."
    ]


def test_a_step_that_is_not_installed_says_nothing(registry: Registry) -> None:
    assert registry.report("somebody-else's", {"a": 1}) == StepReport()


def test_of_an_output_of_another_version_it_is_said_that_it_is_not_told(registry: Registry) -> None:
    assert said(registry.report("open-source", SOURCE | {"novel": 1})) == [
        "The result of a step open-source was recorded by another version and is not shown."
    ]
