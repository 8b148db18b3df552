"""A point that somebody put in is told, whatever it says of its time; one from before there was a log is not."""

from __future__ import annotations

import posixpath
from datetime import timedelta

from runner.base.units import GiB
from steps.repository.history import Entry as Point
from steps.repository.history import oldest_first
from steps.repository.manifest import Manifest, Sampled
from steps.repository.verification_records import Marks
from steps.repository.vm_directory import VmDirectory
from steps.trail import comparison, witness
from steps.trail.entry import Entry
from steps.trail.reading import Trail
from steps.trail.witness import Witnessed
from tests.chain import FIRST, manifest_of

VM = "/backup/web-1-50230000-0000-0000-0000-000000000001"
NIGHTS = [manifest_of(night, FIRST + timedelta(days=night), {2000: None}, sequence=night + 1) for night in range(4)]


def vm_of(*points: Manifest) -> VmDirectory:
    return VmDirectory(VM, entries=oldest_first(Point(posixpath.join(VM, one.point), one, Marks()) for one in points))


def log_of(*acts: tuple[str, Manifest]) -> Trail:
    said = {"at": FIRST, "account": "backup", "host": "hub", "job": "night", "run": "", "commit": None, "text": ""}
    vm = posixpath.basename(VM)
    return Trail([
        Entry(**said, seq=number, prev="", act=act, vm=vm, points=(one.point,))
        for number, (act, one) in enumerate(acts, 1)
    ])  # fmt: skip


def dated_back(sequence: int) -> Manifest:
    """The newest point of its VM by its sequence, and older than all others by all that it says of its time."""
    long_ago = FIRST - timedelta(days=400)
    made = manifest_of(9, long_ago, {2000: None}, sequence=sequence)
    return made.model_copy(update={"published": long_ago, "stored": long_ago, "saved": {}})


def test_a_point_that_was_put_in_as_the_newest_is_told_whatever_its_dates_say():
    forged = dated_back(sequence=9)
    vm = vm_of(NIGHTS[0], forged)
    assert vm.newest is not None and vm.newest.point == forged.point
    witnessed = Witnessed(
        repository="one",
        vm=vm.name,
        point=NIGHTS[0].point,
        published=NIGHTS[0].published,
        digest=witness.digest(NIGHTS[0]),
        log=None,
    )
    trail = log_of(("publish", NIGHTS[0]))
    found = {one.point: one.state for one in comparison.compare("one", {vm.name: vm}, [witnessed], trail)}
    assert found == {NIGHTS[0].point: "same", forged.point: "not witnessed"}
    assert comparison.of_points([vm], trail) == [
        f"{vm.name}/{forged.point} is there, and the log does not say who made it"
    ]


def test_points_from_before_there_was_a_log_are_nothing_to_say_when_an_older_one_is_deleted():
    trail = log_of(("publish", NIGHTS[3]), ("prune", NIGHTS[0]))
    assert comparison.of_points([vm_of(*NIGHTS[1:])], trail) == []


def test_who_calms_the_brake_in_a_manifest_changes_what_was_witnessed():
    (made,) = NIGHTS[:1]
    (disk,) = made.disks
    loud = Sampled(changed=GiB, whole=False, blocks=100, incompressible=99)
    before = made.model_copy(update={"unusual": True, "disks": (disk.model_copy(update={"sampled": loud}),)})
    quiet = loud.model_copy(update={"incompressible": 1})
    calmed = before.model_copy(update={"disks": (disk.model_copy(update={"sampled": quiet}),)})
    said = [witness.digest(one) for one in (before, calmed, before.model_copy(update={"unusual": False}))]
    assert len({*said}) == 3
