"""What is tried on a vCenter: all of it as the simulator does it, what is switched to another way, and what a killed one leaves."""

from __future__ import annotations

import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.app.records import new_run_id
from runner.base.errors import LockedError, UsageError
from steps.certify import leftovers, of_power, run, table
from steps.certify.place import choose
from steps.certify.report import Report
from steps.certify.scratch import Scratch
from steps.certify.trial import Trial
from steps.lab.simulator import changes, dispatch, objects
from steps.lab.simulator import folder as sim_folder
from steps.lab.simulator.machine import Machine
from steps.lab.simulator.nfc import target
from steps.lab.simulator.sessions import not_authenticated
from steps.lab.simulator.vmodl import fault, vim, vmodl
from steps.vsphere.errors import LoginRefused, PermissionMissing
from steps.vsphere.marks import Mark
from tests.eventually import eventually
from tests.steps.lab.simulator.test_sim_behaviours import BEHAVIOURS
from tests.vcenter import USER, Lab, machine, vcenters

start_vcenter = vcenters

FOLDER = "eu/DC1/vm/scratch"
HERE = machine("payroll", folder="scratch")
"""A VM of somebody's in that folder, and with it the folder."""


@pytest.fixture
def there(start_vcenter) -> Lab:
    return start_vcenter(HERE, machine("db"), datacenter={"folder": "eu"})


def certify(there: Lab, *, datastore: str = "ds1") -> Report:
    client = there.client
    return run.certify(client, choose(client, FOLDER, datastore), new_run_id(), lambda one: None)


def others(report: Report) -> dict[int, str]:
    return {one.number: one.seen for one in report.behaviours if one.verdict == "other"}


def names(there: Lab) -> list[str]:
    """Of all VMs."""
    return sorted(one.name for one in there.simulator._world.all(Machine))


def left(there: Lab) -> list[Path]:
    """Directories of scratch VMs on the datastores."""
    return list((there.simulator.directory / "datastores").glob("*/sendense-certify-*"))


def test_the_simulator_does_what_is_assumed_of_a_vcenter(there):
    before = names(there)
    report = certify(there)
    assert others(report) == {}
    assert {one.what: one.seen for one in report.behaviours if one.verdict == "not tried"} == {
        one.what: one.why for one in table.UNTRIED
    }
    assert report.count("as assumed") == len(table.TRIALS) > 35
    assert names(there) == before
    assert left(there) == []


@pytest.mark.parametrize("datastore", ["vsan1", "vvol1"])
def test_what_differs_by_the_kind_of_a_datastore_is_tried_there(there, datastore):
    report = certify(there, datastore=datastore)
    assert others(report) == {}
    assert report.storage == {"vsan1": "vsan", "vvol1": "VVOL"}[datastore]
    assert left(there) == []


def test_each_behaviour_that_is_no_more_than_reported_or_assumed_is_tried_or_has_a_reason():
    doubtful = {number for number, (_, basis) in BEHAVIOURS.items() if basis != {"documented"}}
    told = {one.number for one in (*table.TRIALS, *table.UNTRIED)}
    assert doubtful - told == OF_THE_TESTS


OF_THE_TESTS = set()
"""A stand-in for VMware's library belongs to the tests."""


def test_what_a_vcenter_does_another_way_is_told(start_vcenter, monkeypatch):
    there = start_vcenter(HERE, datacenter={"folder": "eu"}, simulator={"lease_timeout": 120.0}, chunked_uploads=True)
    switch(there, monkeypatch)
    report = certify(there)
    told = {
        2: "NotAuthenticated with another text",
        14: "ManagedObjectNotFound with another text: no such object",
        15: "a VM that is off is not tracked until something else happens to it",
        20: "InvalidArgument of offset instead of startOffset",
        22: "FileFault with the key mismatch instead of cannotGetChanges",
        23: "on VMFS, it failed with FileFault: Error caused by file …",
        25: "tracking continues with the same uuid",
        28: "status 404 for names escaped twice",
        29: "status 403 for the file that a running VM writes",
        35: "a lease ends after 120 s",
        40: "a key that ends in scsi0:0; an importKey that ends in scsi0:0",
        41: "status 200 for a stream without its length",
    }
    assert others(report) == told
    assert left(there) == []


def test_what_stands_on_what_did_not_come_about_is_not_tried(there, monkeypatch):
    monkeypatch.setattr(of_power, "ON_DEADLINE", 0.2)
    there.simulator.fault("power-on-late")
    report = certify(there)
    assert others(report) == {47: "the task ended well and the VM stays off"}
    why = "the scratch VM is not on"
    assert [one.number for one in report.behaviours if one.seen == why] == [26, 29, 25]
    assert left(there) == []


def switch(there: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    """To other ways."""

    def said(kind: Any, **fields: Any) -> Callable[..., Exception]:
        return lambda *_, **__: fault(kind, "no such object", **fields)

    not_parsed, file_fault = changes.invalid_argument, changes._file_fault
    monkeypatch.setattr(dispatch, "not_authenticated", lambda world: _other_text(not_authenticated(world)))
    monkeypatch.setattr(objects, "object_gone", said(vmodl.fault.ManagedObjectNotFound, obj=vim.Folder("group-d1")))
    monkeypatch.setattr(Machine, "want_tracking", lambda self, wanted: setattr(self, "_tracking_wanted", wanted))
    monkeypatch.setattr(
        changes, "invalid_argument", lambda name: not_parsed("offset" if name == "startOffset" else name)
    )
    monkeypatch.setattr(
        changes,
        "_file_fault",
        lambda file, reason: file_fault(file, "mismatch" if reason == "cannotGetChanges" else reason),
    )
    monkeypatch.setattr(sim_folder, "unquote", lambda text: text)
    monkeypatch.setattr(there.simulator._endpoint.datastores, "_locked_status", 403)
    monkeypatch.setattr(target, "_place", lambda machine, disk: "scsi0:0")
    there.simulator.fault("cbt-no-epoch")
    there.simulator.fault("cbt-keep")


def _other_text(refused: Any) -> Any:
    refused.msg = "log in first"
    return refused


# what is left, and what is not touched


def site_of(there: Lab) -> Path:
    site = there.scratch / "site.yaml"
    section = there.section
    vcenter = {
        "server": section.server,
        "port": section.port,
        "username": USER,
        "password": {"file": str(there.scratch / "password")},
        "tls": {"ca": str(there.simulator.ca_path)},
    }
    site.write_text(yaml.safe_dump({"version": 1, "vcenters": {"prod": vcenter}}))
    return site


def started(there: Lab, *more: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "runner.cli", "certify", str(site_of(there)), "--scratch-folder", FOLDER, *more]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, stdin=subprocess.DEVNULL, text=True
    )


MOMENTS = [
    pytest.param("CreateVM_Task", "CreateVM_Task", id="while the VM is made"),
    pytest.param(
        "CreateSnapshot_Task", "CreateSnapshot_Task", id="while a snapshot is taken", marks=pytest.mark.torture
    ),
    pytest.param("ImportVApp", "", id="while another is imported"),
    pytest.param("PowerOnMultiVM_Task", "PowerOnVM_Task", id="while it is switched on", marks=pytest.mark.torture),
    pytest.param("Destroy_Task", "Destroy_Task", id="while it is removed", marks=pytest.mark.torture),
]


@pytest.mark.parametrize(("call", "slow"), MOMENTS)
def test_a_killed_certify_leaves_what_the_next_one_removes(start_vcenter, call, slow):
    there = start_vcenter(HERE, datacenter={"folder": "eu"}, simulator={"lease_timeout": 1.0})
    before = names(there)
    if slow:
        there.simulator.fault("slow-task", method=slow, seconds=0.5)
    process = started(there, "--yes")
    with process:
        assert eventually(lambda: there.simulator.calls[call] > 0, timeout=30)
        process.kill()
    assert process.returncode == -signal.SIGKILL
    report = certify(there)
    assert {**others(report), 35: ""} == {35: ""}
    assert names(there) == before
    assert left(there) == []


@pytest.fixture
def abandoned(there) -> str:
    """moref of a scratch VM whose certify is gone."""
    return made(there, holder=GONE)


GONE = f"{platform.node()} pid 4194305"
"""Beyond what Linux has."""

LONG_AGO = "20260101T000000Z-0a0b0c0d"


def made(there: Lab, *, holder: str, name: str = "", folder: str = FOLDER, of: str = LONG_AGO) -> str:
    """A VM with the mark."""
    client = there.client
    scratch = Scratch(client, choose(client, folder, "ds1").place, of)
    spec = scratch.spec()
    (mark,) = spec.extraConfig
    mark.value = Mark(run=of, job="certify", holder=holder).model_dump_json()
    spec.name = name or spec.name
    outcome = scratch.create(spec, "creating")
    assert outcome.fault is None
    return outcome.result._moId


def test_a_scratch_vm_of_another_folder_and_a_clone_with_its_mark_are_not_touched(start_vcenter):
    there = start_vcenter(HERE, machine("db", folder="other"), datacenter={"folder": "eu"})
    made(there, holder=GONE, name="copy of a scratch VM")
    made(there, holder=GONE, folder="eu/DC1/vm/other")
    before = names(there)
    certify(there)
    assert names(there) == before


def test_a_scratch_vm_at_work_is_left_alone_and_named(there):
    now = new_run_id()
    made(there, holder="another-machine pid 7", of=now)
    before = names(there)
    with pytest.raises(LockedError, match=rf"sendense-certify-{now} .*another-machine pid 7") as caught:
        certify(there)
    assert caught.value.exit_code == 3
    assert names(there) == before


def test_sweep_removes_what_a_killed_one_left(there, abandoned):
    site = site_of(there)
    swept = subprocess.run(
        [sys.executable, "-m", "runner.cli", "sweep", str(site), "--orphans"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert swept.returncode == 0, swept.stdout + swept.stderr
    assert f"scratch VM sendense-certify-20260101T000000Z-0a0b0c0d ({abandoned})" in swept.stdout + swept.stderr
    assert names(there) == ["db", "payroll"]


def test_a_stop_removes_the_scratch_vm(there):
    process = started(there, "--yes")
    with process:
        assert eventually(lambda: there.simulator.calls["CreateSnapshot_Task"] > 0, timeout=30)
        process.send_signal(signal.SIGINT)
    assert process.returncode == 130
    assert names(there) == ["db", "payroll"]
    assert left(there) == []


def test_a_removal_that_fails_does_not_hide_why_it_failed(there, monkeypatch):
    def fails(scratch: Scratch) -> None:
        raise LoginRefused("the password was changed")

    def cannot(client: Any, marked: Any) -> None:
        raise PermissionMissing("no", "VirtualMachine.Inventory.Delete", "VM")

    monkeypatch.setattr(table, "TRIALS", (Trial(0, "it fails", fails),))
    monkeypatch.setattr(leftovers, "remove", cannot)
    with pytest.raises(LoginRefused):
        certify(there)
    assert len(left(there)) == 1


# the command


def test_it_asks_before_it_makes_anything_and_looks_without(there):
    process = started(there)
    _, said = process.communicate(timeout=60)
    assert (process.returncode, "nothing was made" in said) == (2, True)
    process = started(there, "--dry-run")
    seen, _ = process.communicate(timeout=60)
    assert process.returncode == 0
    assert seen.count("would try") == len(table.TRIALS)
    assert there.simulator.calls["CreateVM_Task"] == there.simulator.calls["ImportVApp"] == 0


def test_the_report_is_a_document_without_names_addresses_and_uuids(there):
    process = started(there, "--yes", "--json", "--datastore", "ds1")
    seen, said = process.communicate(timeout=60)
    assert process.returncode == 0, said
    report = Report.model_validate_json(seen)
    assert (report.schema_version, report.storage) == (1, "VMFS")
    assert report.count("as assumed") == len(table.TRIALS)
    for name in (
        "DC1",
        "ds1",
        "scratch-",
        "payroll",
        "127.0.0.1",
        "localhost",
        USER,
        "sendense-certify-",
        "group-",
        "vm-",
    ):
        assert name not in seen, name


def test_what_the_account_lacks_is_named_at_once_and_nothing_is_made(start_vcenter):
    lacks = ("VirtualMachine.Inventory.Create", "VirtualMachine.Interact.PowerOn", "VApp.Import")
    there = start_vcenter(HERE, datacenter={"folder": "eu"}, denied=lacks)
    with pytest.raises(PermissionMissing) as caught:
        certify(there)
    assert all(privilege in str(caught.value) for privilege in lacks)
    assert there.simulator.calls["CreateVM_Task"] == 0


@pytest.mark.parametrize(
    ("folder", "datastore", "said"),
    [
        pytest.param("eu/DC1/vm/nowhere", "", "there is no folder 'eu/DC1/vm/nowhere'", id="folder"),
        pytest.param(FOLDER, "ds9", "ds9", id="datastore"),
    ],
)
def test_a_place_that_is_not_there_is_named(there, folder, datastore, said):
    with pytest.raises(UsageError, match=said):
        choose(there.client, folder, datastore)


def test_without_a_datastore_the_one_with_flat_files_and_most_room_is_taken(there):
    assert choose(there.client, FOLDER, "").datastore == "ds1"
