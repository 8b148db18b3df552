"""Restore points that build on each other: every one of them, at any time, is the disk as it was at its moment."""

from __future__ import annotations

import json
import random
import re
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.base.units import KiB, MiB
from runner.events.events import Event, NodeFinished, NodeStarted
from runner.hosts.local import LocalHost
from steps.lab.simulator.machine_spec import DiskSpec
from steps.repository import catalogue
from tests.estate import VM, Estate, disk, estate, inventory, machine, of, read, scribble, suspects
from tests.simulation import Client

SIZE = 12 * MiB


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    """A VM of one tracked disk."""
    vms = inventory(machine(disk(2000, "12 MiB", content={"pattern": 1}), change_tracking=True))
    with estate(tmp_path, {"prod": vms}) as made:
        yield made


def kinds(point: Path) -> dict[int, str]:
    return {one.key: one.by for one in read(point).disks}


def test_every_point_of_a_changing_vm_is_the_disk_at_its_moment(tmp_path: Path) -> None:
    """A full and six incrementals; between them a disk is added, one grows, one goes, and the VM is reverted."""
    first = machine(
        disk(2000, "48 MiB", content={"pattern": 1}),
        disk(2001, "5 MiB + 512 B", 1, content={"pattern": 2}),
        disk(2016, "20 MiB", 2, content={"pattern": 3}),
    )
    with estate(tmp_path, {"prod": inventory(first)}) as site:
        vcenter, job = site.vcenter, site.job(cbt="enable")
        points = [site.backup(job)]
        assert set(kinds(points[0]).values()) == {"all"}

        scribble(vcenter, 2000, 48 * MiB, seed=1)
        vcenter.write(VM, 2016, 20 * MiB - 512, b"the last sector" + bytes(497))
        points.append(site.backup(job))
        assert kinds(points[-1]) == {2000: "cbt", 2001: "cbt", 2016: "cbt"}
        assert (of(points[-1], 2001).changed, of(points[-1], 2001).written) == (0, 0)
        assert of(points[-1], 2016).changed == 64 * KiB

        vcenter.write(VM, 2000, 4 * MiB, random.Random(2).randbytes(40 * MiB))
        vcenter.write(VM, 2001, 0, bytes(3 * MiB))
        vcenter.add_disk(VM, DiskSpec.from_json_value(disk(2002, "3 MiB", 3, content={"pattern": 4})))
        points.append(site.backup(job))
        assert kinds(points[-1]) == {2000: "cbt", 2001: "cbt", 2002: "all", 2016: "cbt"}
        assert of(points[-1], 2002).reason == "it is not in any restore point yet"

        vcenter.write(VM, 2000, 4 * MiB, bytes(40 * MiB))  # all of it zeroes again: the parent's data must not show
        scribble(vcenter, 2002, 3 * MiB, seed=3)
        vcenter.grow(VM, 2001, 8 * MiB)
        vcenter.write(VM, 2001, 8 * MiB - 512, b"grown" * 100)
        points.append(site.backup(job))
        assert kinds(points[-1]) == {2000: "cbt", 2001: "all", 2002: "cbt", 2016: "cbt"}
        assert of(points[-1], 2001).reason == f"it has {8 * MiB} bytes, in {points[-2].name} it had {5 * MiB + 512}"

        vcenter.remove_disk(VM, 2016)
        scribble(vcenter, 2000, 48 * MiB, seed=4)
        points.append(site.backup(job))
        assert kinds(points[-1]) == {2000: "cbt", 2001: "cbt", 2002: "cbt"}

        reverted(vcenter, by=lambda: scribble(vcenter, 2000, 48 * MiB, seed=5))
        points.append(site.backup(job))
        assert set(kinds(points[-1]).values()) == {"all"}
        assert "started over" in of(points[-1], 2000).reason

        scribble(vcenter, 2001, 8 * MiB, seed=6)
        points.append(site.backup(job))
        assert set(kinds(points[-1]).values()) == {"cbt"}

        site.assert_all_equal()
        assert [read(point).level for point in points] == ["full"] * 7
        moved = tmp_path / "elsewhere"
        site.repository().rename(moved)
        for (point, key), copy in list(site.references.items()):
            del site.references[point, key]
            site.references[point.replace(str(site.repository()), str(moved)), key] = copy
        site.assert_all_equal()


def reverted(vcenter, by) -> None:
    """The guest writes, and all of it is undone by reverting to a snapshot that somebody made in vSphere."""
    client = Client.of(vcenter)
    vm = client.vm(f"DC1/vm/{VM}")
    taken = client.snapshot(vm, "before an update")
    by()
    client.wait(taken.RevertToSnapshot_Task())
    client.wait(taken.RemoveSnapshot_Task(False))
    client.wait(vm.PowerOnVM_Task())


def allocated(image: Path) -> int:
    """Bytes of data that the image holds itself, by qemu-img."""
    argv = ["qemu-img", "map", "--output=json", "-f", "qcow2", str(image)]
    answer = json.loads(subprocess.run(argv, check=True, capture_output=True, timeout=60).stdout)
    return sum(one["length"] for one in answer if one["depth"] == 0 and one["data"])


def served(site: Estate) -> int:
    """Bytes of the VM's disks that the vCenter sent."""
    return sum(count for path, count in site.vcenter.served.items() if "-flat.vmdk" in path)


def test_an_incremental_reads_and_writes_little_more_than_what_changed(tmp_path: Path) -> None:
    size = 192 * MiB  # more than the sample
    vms = inventory(machine(disk(2000, "192 MiB", content={"pattern": 1}), change_tracking=True))
    with estate(tmp_path, {"prod": vms}) as site:
        job = site.job()
        site.backup(job)
        chance = random.Random(7)
        clusters, blocks = set(), set()
        for _ in range(30):
            offset, length = chance.randrange(0, size - 100 * KiB, 512), chance.choice((512, 5 * KiB, 90 * KiB))
            site.vcenter.write(VM, 2000, offset, chance.randbytes(length))
            clusters |= set(range(offset // (64 * KiB), (offset + length - 1) // (64 * KiB) + 1))
            blocks |= set(range(offset // MiB, (offset + length - 1) // MiB + 1))
        before = served(site)
        copied: list[dict[str, Any]] = []

        def keep(event: Event) -> None:
            if isinstance(event, NodeFinished) and event.node == "transfer[2000]":
                copied.append(event.output)

        plain = site.backup(job, keep)
        read_there = served(site) - before
        made = of(plain, 2000)
        assert made.changed == len(clusters) * 64 * KiB
        assert allocated(plain / "disk-2000.qcow2") <= made.changed * 1.02
        (checked,) = [one["checked"] for one in copied]
        assert checked == {"unchanged": 64, "partly": 16, "of": len(blocks)}
        assert made.changed + 64 * MiB < made.read < made.changed + (64 + 16) * MiB
        assert made.read <= read_there <= made.read + 4 * KiB  # whether a file can be read is seen a byte at a time
        assert (made.written, made.compared, made.inherited) == (len(blocks), len(blocks) + 64, 64)
        site.assert_all_equal()


@pytest.mark.parametrize("where", ["another block", "the same block"])
def test_a_write_that_tracking_forgot_is_caught_and_the_same_run_makes_a_full(site: Estate, where: str) -> None:
    job = site.job(sample="100%")
    points = [site.backup(job)]
    site.vcenter.write(VM, 2000, 0, b"x" * KiB)
    points.append(site.backup(job))
    # Every second area is left out; base asks, and so does transfer.
    for offset in (2 * MiB, 2 * MiB + 512 * KiB) if where == "the same block" else (2 * MiB, 8 * MiB):
        site.vcenter.write(VM, 2000, offset, b"y" * KiB)
    site.vcenter.fault("cbt-lie", 2)
    caught = site.backup(job, exit_code=5)
    assert kinds(caught) == {2000: "all"}
    assert "missed a write" in of(caught, 2000).reason
    assert [suspects(point) for point in (*points, caught)] == [{2000}, {2000}, set()]
    site.assert_all_equal()
    site.vcenter.write(VM, 2000, 3 * MiB, b"z" * KiB)
    after = site.backup(job)
    assert of(after, 2000).parent == caught.name
    site.assert_all_equal()


def test_a_run_killed_after_the_lie_was_caught_still_says_so(site: Estate) -> None:
    job = site.job(sample="100%")
    site.backup(job)
    for offset in (2 * MiB, 8 * MiB):
        site.vcenter.write(VM, 2000, offset, b"y" * KiB)
    site.vcenter.fault("cbt-lie", 2)
    stop = threading.Event()

    def before_the_full(event: Event) -> None:
        if isinstance(event, NodeFinished) and event.node == "parent[2000]" and event.output["kind"] == "full":
            stop.set()

    assert site.run(job, before_the_full, stop=stop).exit_code == 130
    resumed = site.run(job)
    assert resumed.exit_code == 5
    assert "made a full" in resumed.error
    (point,) = resumed.points()
    assert of(point, 2000).parent is None


def test_a_failed_incremental_never_becomes_a_parent_and_the_next_one_is_right(site: Estate) -> None:
    job = site.job()
    first = site.backup(job)
    site.vcenter.write(VM, 2000, MiB, b"a" * MiB)
    moment = {2000: site.vcenter.read(VM, 2000, 0, SIZE)}
    assert stopped_at(site, job, "verify[2000]") == 130
    site.vcenter.write(VM, 2000, MiB + 4 * KiB, bytes(64 * KiB))
    resumed = site.backup(job, moment=moment)
    assert of(resumed, 2000).parent == first.name
    assert of(resumed, 2000).change_id != of(first, 2000).change_id
    site.vcenter.write(VM, 2000, 5 * MiB, b"c" * KiB)
    assert stopped_at(site, job, "transfer[2000]") == 130
    last = site.backup(job, fresh=True)
    assert of(last, 2000).parent == resumed.name
    assert of(last, 2000).changed == 3 * 64 * KiB  # since the resumed run's snapshot, not since its publishing
    site.assert_all_equal()
    assert not list(site.repository().glob("*/*.partial"))


def stopped_at(site: Estate, job: Path, node: str) -> int:
    stop = threading.Event()

    def there(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == node:
            stop.set()

    return site.run(job, there, stop=stop).exit_code


def test_a_snapshot_that_is_gone_is_replaced_and_the_incremental_is_of_the_new_moment(site: Estate) -> None:
    for by in ("cbt", "digests"):
        job = site.job(by, incremental=by)
        site.backup(job)
        site.vcenter.write(VM, 2000, MiB, b"a" * MiB)
        assert stopped_at(site, job, "verify[2000]") == 130
        site.vcenter.write(VM, 2000, MiB, b"b" * KiB)
        site.vcenter.write(VM, 2000, 7 * MiB, bytes(MiB))
        client = Client.of(site.vcenter)
        client.wait(client.vm(f"DC1/vm/{VM}").RemoveAllSnapshots_Task())
        assert kinds(site.backup(job)) == {2000: by}
    site.assert_all_equal()


def test_what_an_abandoned_moment_left_in_the_image_does_not_stay_though_tracking_does_not_name_it_again(
    site: Estate,
) -> None:
    """As when the VM is reverted after its snapshot was removed: what was written for that is as in the parent again."""
    job = site.job()
    first = site.backup(job)
    before = site.vcenter.read(VM, 2000, 5 * MiB, KiB)
    site.vcenter.write(VM, 2000, 5 * MiB, b"a" * KiB)
    assert stopped_at(site, job, "verify[2000]") == 130
    client = Client.of(site.vcenter)
    client.wait(client.vm(f"DC1/vm/{VM}").RemoveAllSnapshots_Task())
    site.vcenter.write(VM, 2000, 5 * MiB, before)
    site.vcenter.write(VM, 2000, 7 * MiB, b"b" * KiB)
    site.vcenter.fault("cbt-lie", 2)  # of the two it tells the second one: as much as was told before
    point = site.backup(job)
    assert (of(point, 2000).parent, of(point, 2000).by) == (first.name, "cbt")
    site.assert_all_equal()


def test_without_tracking_all_is_read_and_what_differs_is_written(tmp_path: Path) -> None:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "12 MiB", content={"pattern": 1})))}) as site:
        job = site.job(incremental="digests")
        first = site.backup(job)
        assert of(first, 2000).change_id is None
        site.vcenter.write(VM, 2000, 3 * MiB + 5, b"new")
        site.vcenter.write(VM, 2000, 5 * MiB, bytes(2 * MiB))
        (planned,) = [node for node in site.plan(job).nodes if node.id == "parent[2000]"]
        assert planned.notes == (
            f"incremental on {first.name}: the whole disk is read, and what does not match that point's digests is written",
        )
        second = site.backup(job)
        assert kinds(second) == {2000: "digests"}
        assert (of(second, 2000).read, of(second, 2000).written) == (SIZE, 3)
        assert kinds(site.backup(site.job("by-cbt"))) == {2000: "all"}  # tracking is off
        site.assert_all_equal()


def test_a_full_comes_when_the_job_wants_it(site: Estate) -> None:
    """Retention makes the oldest point that stays a full, copied from the points and not from the source: it does not count,
    or what was missed at the source would be taken over for ever."""
    plain = site.job("plain", retention={"keep-last": 1})
    first = site.backup(plain)
    assert of(site.backup(plain), 2000).reason == f"made a full by a prune; it was backed by {first.name}"
    wishes = {
        "the job wants one every 2 points": {"full_every": {"points": 2}},
        "the job wants one every 1e-07 days": {"full_every": {"days": 0.0000001}},
        "the job says `mode: full`": {"mode": "full"},
    }
    for why, settings in wishes.items():
        job = site.job(**settings)
        (planned,) = [node for node in site.plan(job).nodes if node.id == "parent[2000]"]
        assert planned.notes == (f"full of 12.0 MiB: {why}",)
        assert of(site.backup(job), 2000).reason == why


def test_mode_incremental_says_why_none_can_be_made_and_changes_nothing(site: Estate) -> None:
    ran = site.run(site.job(mode="incremental"))
    assert ran.exit_code == 1
    assert "disk 2000 cannot be backed up incrementally: this is the VM's first restore point" in ran.error
    assert site.vcenter.calls["CreateSnapshot_Task"] == 0
    assert not list(site.repository().glob("*-*/*.partial"))


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        pytest.param("cbt-reset", "started over", id="reset"),
        pytest.param("lost", "refuses changeId", id="refused"),
        pytest.param("digests", "digests file", id="a digests file that rotted"),
        pytest.param("image", "has lost disk-2000.qcow2: it is missing or empty", id="an image that is gone"),
    ],
)
def test_what_cannot_be_built_on_gives_a_full_with_the_reason(site: Estate, fault: str, why: str) -> None:
    job = site.job()
    first = site.backup(job)
    if fault == "cbt-reset":
        site.vcenter.fault("cbt-reset")
    elif fault == "lost":
        site.vcenter.fault("fail-call", method="QueryChangedDiskAreas", fault="InvalidArgument")
    elif fault == "digests":
        path = first / "disk-2000.blake3"
        path.write_bytes(bytes(32) + path.read_bytes()[32:])
    else:
        site.references.clear()
        (first / "disk-2000.qcow2").unlink()
    point = site.backup(job, exit_code=5 if fault == "digests" else 0)
    assert kinds(point) == {2000: "all"}
    assert re.search(why, of(point, 2000).reason), of(point, 2000).reason
    site.assert_all_equal()


@pytest.mark.parametrize(
    ("rot", "why"),
    [
        pytest.param(
            "inherited",
            "a block of the chain does not match its digest at offset",
            id="a block that nothing was written to",
        ),
        pytest.param(
            "partly",
            "a block of the chain does not match its digest at offset",
            id="a block that was written to in part",
        ),
        pytest.param("digests", "digests file .* is not the one that was written", id="its digests"),
    ],
)
def test_a_parent_that_went_bad_is_found_the_same_run_makes_a_full_and_it_counts_again_once_it_is_mended(
    site: Estate, rot: str, why: str
) -> None:
    job = site.job()
    first = site.backup(job)
    content = site.vcenter.read(VM, 2000, 0, SIZE)
    offset = next(at for at in range(0, SIZE, MiB) if any(content[at : at + 512]))
    path = first / ("disk-2000.blake3" if rot == "digests" else "disk-2000.qcow2")
    whole = path.read_bytes()
    if rot == "digests":
        path.write_bytes(bytes(32) + whole[32:])
    else:
        command = f"write -P {content[offset] ^ 255} {offset} 1"
        subprocess.run(["qemu-io", "-f", "qcow2", "-c", command, str(path)], check=True, timeout=60)
    if rot == "partly":
        site.vcenter.write(VM, 2000, offset + 512 * KiB, b"q" * KiB)
    healed = site.backup(job, exit_code=5)
    assert kinds(healed) == {2000: "all"}
    assert re.search(why, of(healed, 2000).reason), of(healed, 2000).reason
    assert (suspects(first), goods(site)) == (set(), [False, True])
    path.write_bytes(whole)
    verify = site.directory / "verify.yaml"
    values = {"repository": "main", "points": [first.name], "level": "chain"}
    document = {"version": 1, "name": "verify", "include": "site.yaml", "template": "verify", "vars": values}
    verify.write_text(yaml.safe_dump(document))
    assert site.run(verify).exit_code == 0
    assert goods(site) == [True, True]
    site.assert_all_equal()


def goods(site: Estate) -> list[bool]:
    return [point.good for point in catalogue.read(LocalHost(), str(site.repository())).points]


def test_a_parent_that_vanished_meanwhile_is_never_built_on(site: Estate) -> None:
    job = site.job()
    first = site.backup(job)

    def hide(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == "publish":
            (first / "manifest.json").rename(site.directory / "hidden")

    failed = site.run(job, hide)
    assert failed.exit_code == 1
    assert f"disk 2000 is backed by {first.name}, which is not a restore point" in failed.error
    site.references.clear()
    reason = of(site.backup(job), 2000).reason
    assert reason.startswith(f"{first} cannot be read (it has no manifest.json), so the parent is unknown")
    site.assert_all_equal()


def test_every_block_of_the_chain_is_read_back_where_the_job_wants_it(site: Estate) -> None:
    job = site.job(verify="chain")
    site.backup(job)
    made = of(site.backup(job), 2000)
    assert (made.written, made.compared, made.inherited, made.level) == (0, 12, 12, "full")


def test_areas_that_are_refused_after_all_give_a_full_in_the_same_run(site: Estate) -> None:
    job = site.job()
    site.backup(job)

    def refuse(event: Event) -> None:
        if isinstance(event, NodeFinished) and event.node == "parent[2000]" and event.output["kind"] == "incremental":
            for _ in range(2):  # transfer asks, and choose-parent asks again
                site.vcenter.fault("fail-call", method="QueryChangedDiskAreas", fault="InvalidArgument")

    assert "refuses changeId" in of(site.backup(job, refuse), 2000).reason
    site.assert_all_equal()


def test_of_a_vm_that_is_off_the_plan_knows_what_changed(tmp_path: Path) -> None:
    vms = inventory(machine(disk(2000, "3 MiB"), change_tracking=True, **{"powered-on": False}))
    with estate(tmp_path, {"prod": vms}) as site:
        job = site.job()
        first = site.backup(job)
        site.vcenter.write(VM, 2000, MiB, b"x" * 70 * KiB)
        (planned,) = [node for node in site.plan(job).nodes if node.id == "parent[2000]"]
        assert planned.notes == (f"incremental on {first.name}: 128.0 KiB may have changed",)


def test_an_unfinished_image_that_is_not_what_was_recorded_is_made_anew(tmp_path: Path) -> None:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "6 MiB", content={"pattern": 1})))}) as site:
        job = site.job(incremental="digests")
        site.backup(job)
        site.vcenter.write(VM, 2000, 0, b"a" * 3 * MiB)
        assert stopped_at(site, job, "verify[2000]") == 130
        (partial,) = site.repository().glob("*-*/*.partial")
        for command in (
            f"write -P 1 0 {MiB}",
            f"write -P 2 {5 * MiB} 512",
        ):  # what was recorded, and what was inherited
            image = str(partial / "disk-2000.qcow2")
            subprocess.run(
                ["qemu-io", "-f", "qcow2", "-c", command, image], check=True, timeout=60, capture_output=True
            )
        (partial / "disk-2000.copied.json").unlink()
        point = site.backup(job)
        assert (of(point, 2000).by, of(point, 2000).written) == ("digests", 3)
        site.assert_all_equal()
