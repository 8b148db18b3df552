"""A VM is imported through a lease of a simulated vCenter: what is uploaded, what a failure costs, and what it leaves."""

from __future__ import annotations

import filecmp
import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from runner.base.errors import Interrupted, SendenseError
from runner.base.units import KiB, MiB
from runner.events.events import NodeProgress
from runner.step.preflight import Known
from runner.step.step import Empty
from steps.new_vm import imported, unfinished
from steps.restore import spool
from steps.restore.import_vm import ImportVm, ImportVmIn, ImportVmLive, SpoolDamagedError, StreamChangedError
from steps.restore.open_point import OpenPoint, OpenPointIn
from steps.restore.spool_disk import SpoolDisk, SpoolDiskIn, SpoolDiskLive
from steps.values.created_vm import CreatedVm
from steps.values.planned_vm import PlannedVm
from steps.values.serving import Serving
from steps.values.spooled import SpooledDisk
from steps.vsphere import marks, nfc, specs
from steps.vsphere.errors import LeaseEnded, NotReached, NotTrusted, SnapshotRefused, Unreachable, UploadRefused
from steps.vsphere.import_lease import UploadDiffersError
from steps.vsphere.properties import read_all
from steps.vsphere.vm_spec import Unrecorded
from steps.vsphere.vmomi import vim
from tests.chains import Reference, full, incremental
from tests.eventually import eventually
from tests.hub import Hub, disk
from tests.planned import planned_vm
from tests.steps.restore.test_restore_disk import serve
from tests.vcenter import RUN, Lab, Starts, vcenters

__all__ = ["vcenters"]

KEYS = (2000, 2001, 2002)
CAPACITIES = (4 * MiB + 512, 2 * MiB, 3 * MiB)


@dataclass
class Importing:
    """A point with three disks, each of which is another, and a vCenter."""

    hub: Hub
    lab: Lab
    point: Reference
    plan: PlannedVm
    sources: tuple[Serving, ...]
    spool: Path
    spooled: tuple[SpooledDisk, ...] = field(default=())

    def spool_disks(self, limit: int | None = None) -> tuple[SpooledDisk, ...]:
        made = []
        for planned, source in zip(self.plan.disks, self.sources, strict=True):
            inputs = SpoolDiskIn(plan=self.plan, disk=planned, directory=str(self.spool), limit=limit)
            made.append(SpoolDisk().run(self.hub.context(), inputs, SpoolDiskLive(source=source)))
        self.spooled = tuple(made)
        return self.spooled

    @property
    def inputs(self) -> ImportVmIn:
        return ImportVmIn(plan=self.plan, disks=self.spooled or self.spool_disks())

    def run(self) -> CreatedVm:
        return ImportVm().run(self.lab.context("import"), self.inputs, ImportVmLive(sources=self.sources))

    def check(self) -> CreatedVm | None:
        return ImportVm().check(self.lab.context("import"), self.inputs, None)

    def assert_arrived(self, made: CreatedVm) -> None:
        """Byte by byte, each disk where it belongs."""
        assert [one.key for one in made.disks] == list(KEYS)
        for one in made.disks:
            there = self.lab.simulator.disk_file(made.name, one.new_key)
            assert filecmp.cmp(there, self.point.disks[one.key], shallow=False), f"disk {one.key} is another"

    def assert_nothing_left(self) -> None:
        assert marks.find(self.lab.client, marks.RESTORE) == ()
        assert sorted(path.name for path in self.datastore.iterdir()) == ["pgtest1"]

    @property
    def datastore(self) -> Path:
        return self.lab.simulator.directory / "datastores" / "ds1"

    def posts(self) -> int:
        return self.lab.simulator.calls["POST /nfc"]


@pytest.fixture
def importing(hub: Hub, vcenters: Starts, tmp_path: Path) -> Iterator[Callable[..., Importing]]:
    def make(**simulator: object) -> Importing:
        lab = vcenters(simulator=simulator)
        disks = [disk(key, capacity) for key, capacity in zip(KEYS, CAPACITIES, strict=True)]
        first = full(hub, tmp_path / "references", *disks)
        point = incremental(first, tmp_path / "references", seed=1)
        found = OpenPoint().run(hub.context(), OpenPointIn(repository="main", point=point.point.name), Empty())
        (tmp_path / "config.json").write_text(json.dumps({"hardware": {}, "annotation": "db"}))
        plan = planned_vm(*found.disks, config=str(tmp_path / "config.json"), **places(lab))
        sources = tuple(serve(hub, one.image) for one in found.disks)
        return Importing(hub, lab, point, plan, sources, tmp_path / "spool")

    yield make


def places(lab: Lab) -> dict[str, str]:
    """Where a new VM goes."""
    found = {}
    for field_, kind, name in (("folder", vim.Folder, "vm"), ("pool", vim.ResourcePool, "Resources")):
        every = read_all(lab.client, kind, ("name",), f"looking for {name}")
        found[field_] = next(moref for moref, seen in every.items() if seen["name"] == name)
    return found


def test_each_disk_arrives_where_it_belongs_byte_by_byte_and_the_vm_carries_the_mark(
    importing: Callable[..., Importing],
):
    one = importing()
    made = one.run()
    one.assert_arrived(made)
    assert made.name == f"pgtest1-back (restoring {RUN})"
    (marked,) = marks.find(one.lab.client, marks.RESTORE)
    assert (marked.moref, marked.value) == (made.moref, made.mark)
    assert marked.mark is not None
    assert marked.mark.uploaded
    assert not (one.spool / RUN).exists(), "the spool was kept"
    assert one.check() == made
    assert one.lab.warnings == []


def test_disks_without_room_in_the_spool_are_compressed_while_they_are_uploaded(importing: Callable[..., Importing]):
    one = importing()
    assert [bool(disk.path) for disk in one.spool_disks(limit=MiB)] == [False, False, False]
    one.assert_arrived(one.run())


def test_the_vm_carries_the_runs_mark_from_its_first_moment_and_is_not_whole_before_its_lease_is_complete(
    importing: Callable[..., Importing],
):
    one = importing()
    one.lab.simulator.fault("upload-slow", seconds=1.0)
    seen = []
    uploading = threading.Thread(target=lambda: seen.append(one.run()))
    uploading.start()
    assert eventually(lambda: unfinished.own(one.lab.client, RUN) is not None)
    assert imported.whole(one.lab.client, RUN) is None
    assert one.check() is None
    uploading.join(30)
    assert one.check() == seen[0]


@pytest.mark.parametrize(
    ("fault", "told", "error", "why"),
    [
        pytest.param(
            "upload-cut", {"after": 65536}, Unreachable, "the connection to the ESXi host .* broke", id="dropped"
        ),
        pytest.param("upload-timeout", {"after": 65536}, LeaseEnded, "lease has ended", id="lease-times-out"),
        pytest.param("http-503", {"method": "POST"}, UploadRefused, "status 503", id="busy"),
        pytest.param(
            "upload-no-space", {"after": 65536}, SnapshotRefused, "datastore ds1 has no space left", id="no-space"
        ),
        pytest.param("upload-wrong", {"kind": "changed"}, UploadDiffersError, "SHA256 is", id="changed-on-the-way"),
        pytest.param("upload-wrong", {"kind": "short"}, UploadDiffersError, "bytes of", id="short"),
        pytest.param(
            "fail-task", {"method": "ImportVApp", "fault": "NoDiskSpace"}, SnapshotRefused, "no space left", id="full"
        ),
        pytest.param(
            "session-expire", {"method": "HttpNfcLeaseGetManifest"}, LeaseEnded, "lease has ended", id="session"
        ),
    ],
)
def test_a_failure_takes_the_vm_away_and_the_next_attempt_starts_over_from_the_spool(
    importing: Callable[..., Importing], fault: str, told: dict[str, object], error: type[SendenseError], why: str
):
    one = importing()
    one.spool_disks()
    one.lab.simulator.fault(fault, **told)
    with pytest.raises(error, match=why):
        one.run()
    assert eventually(lambda: marks.find(one.lab.client, marks.RESTORE) == ())
    one.assert_nothing_left()
    reads = list(one.hub.events)
    one.assert_arrived(one.run())
    assert one.hub.events == reads, "the point was read again"


def test_every_failure_is_told_whether_trying_again_may_help():
    assert UploadRefused("esx1", 503, "").transient
    assert not UploadRefused("esx1", 500, "No space left").transient
    assert LeaseEnded("").transient
    assert UploadDiffersError("").transient


def test_a_stop_ends_an_upload_that_does_not_move_and_aborts_the_lease(importing: Callable[..., Importing]):
    one = importing()
    one.spool_disks()
    one.lab.simulator.fault("upload-slow", count=3, seconds=120.0)
    threading.Thread(target=lambda: eventually(lambda: one.posts() == 3) and one.lab.stop.set()).start()
    began = time.monotonic()
    with pytest.raises(Interrupted):
        one.run()
    assert time.monotonic() - began < 60
    one.lab.stop.clear()
    one.assert_nothing_left()


def test_progress_keeps_a_lease_alive_while_nothing_moves(importing: Callable[..., Importing]):
    one = importing(lease_timeout=1)
    one.lab.simulator.fault("upload-slow", seconds=3.0)
    one.assert_arrived(one.run())
    assert one.lab.simulator.calls["HttpNfcLeaseProgress"] >= 10


def test_what_a_process_that_was_killed_has_left_goes_and_the_upload_starts_over(importing: Callable[..., Importing]):
    """Its lease still holds the VM, which is in the way of its removal."""
    one = importing(lease_timeout=2)
    one.spool_disks()
    half_imported(one)
    one.assert_arrived(one.run())
    assert one.lab.warnings[0].startswith("waiting for an import that was cut short to end in vCenter: ")


def test_a_lease_of_which_only_the_answer_was_lost_is_complete(importing: Callable[..., Importing]):
    one = importing()
    one.lab.simulator.fault("lost-answer", method="HttpNfcLeaseComplete")
    one.assert_arrived(one.run())
    assert one.posts() == 3


def test_a_vm_of_which_nobody_heard_goes_before_it_is_imported_again(importing: Callable[..., Importing]):
    one = importing(lease_timeout=2)
    one.spool_disks()
    one.lab.simulator.fault("lost-answer", method="ImportVApp")
    with pytest.raises(Unreachable):
        one.run()
    one.assert_arrived(one.run())
    assert len(marks.find(one.lab.client, marks.RESTORE)) == 1


def half_imported(one: Importing) -> None:
    """By a process that is gone, and whose lease nobody knows."""
    name = unfinished.interim_name(one.plan.machine.name, RUN)
    mark = marks.stamp(one.lab.context(), one.plan.source)
    spec = specs.import_spec(one.plan.machine, name, {marks.RESTORE: mark}, Unrecorded())
    client, machine = one.lab.client, one.plan.machine

    def work(session: object) -> object:
        pool = session.object(vim.ResourcePool, machine.pool)
        return pool.ImportVApp(spec=spec, folder=session.object(vim.Folder, machine.folder))

    client.call("importing", work)
    assert eventually(lambda: unfinished.own(client, RUN) is not None)


def test_a_lease_that_is_known_is_aborted_instead_of_waited_for(importing: Callable[..., Importing]):
    one = importing()
    one.spool_disks()
    one.lab.simulator.fault("upload-cut")
    one.lab.simulator.fault("fail-call", method="HttpNfcLeaseAbort")
    with pytest.raises(Unreachable):
        one.run()
    assert unfinished.own(one.lab.client, RUN) is not None, "the lease was aborted all the same"
    one.assert_arrived(one.run())
    assert one.lab.warnings == []


def test_a_discarded_run_leaves_nothing_whether_its_lease_is_over_or_not(importing: Callable[..., Importing]):
    one = importing(lease_timeout=2)
    half_imported(one)
    ctx = one.lab.context("import")
    left = ImportVm().leftover(ctx, one.inputs)
    assert left is not None
    ImportVm().undo(ctx, one.inputs, left)
    one.assert_nothing_left()
    made = one.run()
    ImportVm().undo(ctx, one.inputs, made)
    one.assert_nothing_left()


def test_a_spool_that_was_damaged_is_never_taken_for_a_disk(importing: Callable[..., Importing]):
    one = importing()
    path = Path(one.spool_disks()[1].path)
    content = bytearray(path.read_bytes())
    content[70 * KiB] ^= 1
    path.write_bytes(content)
    with pytest.raises(SpoolDamagedError, match=f"{path} is damaged: it is removed"):
        one.run()
    one.assert_nothing_left()
    one.assert_arrived(one.run())


def test_a_stream_that_is_made_otherwise_by_now_is_not_sent_as_what_was_announced(importing: Callable[..., Importing]):
    one = importing()
    first, *others = one.spool_disks(limit=MiB)
    for change in ({"size": first.size + 512}, {"size": first.size - 512}, {"sha256": "0" * 64}):
        one.spooled = (first.model_copy(update=change), *others)
        with pytest.raises(StreamChangedError) as refused:
            one.run()
        assert (refused.value.invalidates, refused.value.self_healing) == (("disks",), True)
        one.assert_nothing_left()


def test_a_host_with_another_certificate_than_the_lease_says_gets_nothing(
    importing: Callable[..., Importing], monkeypatch: pytest.MonkeyPatch
):
    one = importing()
    of = nfc.connect

    def other(client: object, device: nfc.Device) -> object:
        return of(client, nfc.Device(device.key, device.place, device.url, "AB:" * 19 + "AB"))

    monkeypatch.setattr(nfc, "connect", other)
    with pytest.raises(NotTrusted, match="shows a certificate with the SHA-1 thumbprint"):
        one.run()
    assert one.posts() == 0
    one.assert_nothing_left()


def test_a_host_that_one_disk_cannot_reach_ends_the_uploads_of_the_others(
    importing: Callable[..., Importing], monkeypatch: pytest.MonkeyPatch
):
    """Half of the disks are of no use: nobody waits for them."""
    one = importing()
    one.spool_disks()
    one.lab.simulator.fault("upload-slow", count=2, seconds=120.0)
    of = nfc.connect

    def last(client: object, device: nfc.Device) -> object:
        if device.place.endswith(":2"):
            assert eventually(lambda: one.posts() == 2)
            raise NotReached("the ESXi host cannot be reached")
        return of(client, device)

    monkeypatch.setattr(nfc, "connect", last)
    began = time.monotonic()
    with pytest.raises(NotReached):
        one.run()
    assert time.monotonic() - began < 60
    one.assert_nothing_left()


def test_a_crash_once_the_vm_is_whole_costs_no_upload(
    importing: Callable[..., Importing], monkeypatch: pytest.MonkeyPatch
):
    one = importing()
    one.spool_disks()

    def dies(path: Path) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(spool, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    found = one.check()
    assert found is not None
    one.assert_arrived(found)


def test_a_plan_says_what_is_uploaded_and_that_it_cannot_resume(importing: Callable[..., Importing]):
    one = importing()
    inputs = one.inputs
    found = ImportVm().preflight(one.lab.context(), Known(told={"uploads": 4}, inputs=inputs))
    assert found.notes == (
        f"pgtest1-back (restoring {RUN}) in vCenter prod: 3 disks with 7.0 MiB of content, uploaded compressed",
    )
    early = ImportVm().preflight(None, Known(told={"uploads": 4}))
    assert early.settings == found.settings
    assert [one.text for one in early.settings] == [
        "up to 4 disks at once, compressed; it cannot resume: cut short, all disks are uploaded again"
    ]
    assert one.posts() == 0


def test_what_is_uploaded_is_told_from_the_first_byte_to_the_last(importing: Callable[..., Importing]):
    one = importing()
    one.run()
    told = [event for event in one.lab.events if isinstance(event, NodeProgress)]
    for spooled in one.spooled:
        of_disk = [event.done for event in told if event.label == f"disk {spooled.disk_key}"]
        assert (of_disk[0], of_disk[-1]) == (0, spooled.size)
