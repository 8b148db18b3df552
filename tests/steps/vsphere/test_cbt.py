"""What the vCenter says that changed: pages, refusals, and what to make of a changeId."""

from __future__ import annotations

import pytest

from runner.base.units import KiB, MiB
from steps.vsphere import cbt
from steps.vsphere.errors import Gone, TrackingLost, TrackingOff, TrackingSilent, VSphereError
from tests.vcenter import Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters
BLOCK = 64 * KiB
UUID = "52 8a b4 5c 7b ab 8e 51-7a 73 16 d1 76 9a 0d a6"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cbt, "REPEATS", 2)
    monkeypatch.setattr(cbt, "FIRST_PAUSE", 0.0)


class Tracked:
    """A VM whose one disk is tracked, and two of its snapshots."""

    def __init__(self, lab: Lab, size: int) -> None:
        self.lab, self.size = lab, size
        self.found = lab.discover()
        self.before = self._snapshot()

    def _snapshot(self) -> tuple[str, str]:
        taken = self.lab.snapshot(self.found)
        self.lab.undo(self.found, taken)
        (frozen,) = taken.disks
        return taken.moref, str(frozen.change_id)

    def areas(self, change_id: str | None = None, key: int = 2000) -> list[tuple[int, int]]:
        taken = self.lab.snapshot(self.found)
        try:
            since = self.before[1] if change_id is None else change_id
            vm = self.found.vm.moref
            return list(cbt.areas(self.lab.client, vm, taken.moref, key, self.size, since))
        finally:
            self.lab.undo(self.found, taken)


def tracked(start: Starts, size: int = 4 * MiB) -> Tracked:
    return Tracked(start(machine(disks=[disk(size=size)], change_tracking=True)), size)


def test_areas_of_all_pages_come_in_order_and_the_end_is_never_asked_for(start_vcenter: Starts) -> None:
    one = tracked(start_vcenter, 300 * MiB)
    for number in range(2300):
        one.lab.simulator.write("pgtest1", 2000, number * 2 * BLOCK, b"x")
    assert one.areas() == [(number * 2 * BLOCK, BLOCK) for number in range(2300)]
    assert one.lab.simulator.calls["QueryChangedDiskAreas"] == 2


def test_no_change_is_no_area(start_vcenter: Starts) -> None:
    assert tracked(start_vcenter).areas() == []


@pytest.mark.parametrize(
    ("change_id", "error"),
    [
        pytest.param(f"{UUID}/1", TrackingLost, id="another uuid"),
        pytest.param("nonsense", TrackingLost, id="not a changeId"),
    ],
)
def test_a_change_id_that_is_refused_means_that_tracking_is_lost(
    start_vcenter: Starts, change_id: str, error: type[VSphereError]
) -> None:
    with pytest.raises(error, match="asking for the changed areas of disk 2000 failed"):
        tracked(start_vcenter).areas(change_id)


def test_tracking_that_is_off_says_so(start_vcenter: Starts) -> None:
    lab = start_vcenter()
    found = lab.discover()
    taken = lab.snapshot(found)
    with pytest.raises(TrackingOff):
        list(cbt.areas(lab.client, found.vm.moref, taken.moref, 2000, MiB, "*"))


def test_a_locked_tracking_file_is_asked_for_again_and_not_for_ever(start_vcenter: Starts) -> None:
    one = tracked(start_vcenter)
    one.lab.simulator.write("pgtest1", 2000, 0, b"x")
    one.lab.simulator.fault("cbt-locked", 2)
    assert one.areas() == [(0, BLOCK)]
    one.lab.simulator.fault("cbt-locked", 3)
    with pytest.raises(TrackingSilent, match="locked or missing"):
        one.areas()


def test_a_snapshot_that_is_gone_is_gone(start_vcenter: Starts) -> None:
    one = tracked(start_vcenter)
    with pytest.raises(Gone):
        list(cbt.areas(one.lab.client, one.found.vm.moref, one.before[0], 2000, one.size, one.before[1]))


@pytest.mark.parametrize(
    ("parent", "snapshot", "why"),
    [
        pytest.param(f"{UUID}/1", f"{UUID}/2", None, id="later"),
        pytest.param(f"{UUID}/9", f"{UUID}/10", None, id="numbers are no text"),
        pytest.param(f"{UUID}/2", f"{UUID[::-1]}/3", "another uuid", id="another uuid"),
        pytest.param(f"{UUID}/5", f"{UUID}/4", "went back", id="earlier"),
        pytest.param(f"{UUID}/5", f"{UUID}/5", "went back", id="the same"),
    ],
)
def test_two_change_ids_tell_whether_tracking_reaches_from_one_to_the_other(
    parent: str, snapshot: str, why: str | None
) -> None:
    said = cbt.why_lost(parent, snapshot)
    assert (why or "") in (said or "") and (said is None) == (why is None)


class Page:
    def __init__(self, start: int, length: int, *areas: tuple[int, int]) -> None:
        self.startOffset, self.length = start, length
        self.changedArea = [type("Area", (), {"start": low, "length": size}) for low, size in areas]


@pytest.mark.parametrize(
    "pages",
    [
        pytest.param([Page(0, 2 * MiB), Page(3 * MiB, MiB)], id="a gap between pages"),
        pytest.param([Page(0, 0)], id="an empty page"),
        pytest.param([Page(0, 5 * MiB)], id="behind the end"),
        pytest.param([Page(0, 4 * MiB, (MiB, MiB), (MiB, MiB))], id="areas that overlap"),
        pytest.param([Page(0, 4 * MiB, (3 * MiB, 2 * MiB))], id="an area behind its page"),
    ],
)
def test_answers_that_do_not_fit_each_other_are_refused(monkeypatch: pytest.MonkeyPatch, pages: list[Page]) -> None:
    # No server was seen to do this, and the simulator does not: what it would answer stands in.
    answers = iter(pages)
    monkeypatch.setattr(cbt, "_page", lambda *asked: next(answers))
    with pytest.raises(VSphereError, match="mode: full"):
        list(cbt.areas(None, "vm-1", "snapshot-1", 2000, 4 * MiB, f"{UUID}/1"))  # type: ignore[arg-type]
