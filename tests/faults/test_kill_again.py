"""A run is killed, and what resumes it is killed too: resuming, cleaning up, sweeping, replacing a lost snapshot."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import yaml

from runner.app.options import Options, read_job
from steps.vsphere import snapshots
from steps.vsphere.client import Client
from tests.faults import ending
from tests.faults.disks import INVENTORY, KEYS, TORTURE
from tests.faults.moments import RENAMED, Kill
from tests.faults.scene import Scene

__all__ = ["INVENTORY"]


def kill_one_after_the_other(scene: Scene, moments: Sequence[str], *command: str) -> None:
    for moment in moments:
        assert scene.kill(Kill("runner", moment), *command) == -9


def the_run(scene: Scene) -> str:
    (run,) = scene.ids()
    return run


def thorough(*moments: str) -> tuple[str, ...]:
    """Only in `make torture`."""
    return moments if TORTURE else ()


RESUMING = (
    "copied 2000:20",
    "opened tunnel[2000]",
    "copied 2000:20",
    *thorough("copied 2000:10", "acted transfer[2000]", "closed tunnel[2000]"),
)
UNWINDING = (
    *thorough("asking remove"),
    "asked remove",
    "dropped snapshot",
    *thorough("intent cleanup"),
    "phase finished",
)
ABANDONING = (*thorough("dropped verify[2002]"), "dropped image[2000]", *thorough("asking remove"), "asked remove")
REPLACING = ("dropped discover", *thorough("dropped snapshot", "asking create"), "asked create", "copied 2000:30")
SWEEPING = (*thorough("asking remove"), "asked remove")


@pytest.mark.parametrize("moments", [RESUMING, UNWINDING], ids=["resuming", "unwinding"])
def test_a_run_that_is_killed_again_and_again_is_finished_by_the_same_command(scene: Scene, moments: tuple[str, ...]):
    kill_one_after_the_other(scene, moments)
    if moments[-1] != "phase finished":  # else it only could not say so any more
        assert scene.run() == 0, scene.said
    the_run(scene)
    ending.assert_one_right_point(scene.site, scene.before)
    ending.assert_nothing_left(scene.site, scene.directory)
    ending.assert_within_window(scene.site, scene.before, scene.kills)
    assert ending.Before.of(scene.site).created == scene.before.created + 1


def test_an_abandoning_that_is_killed_is_finished_by_the_same_command(scene: Scene):
    kill_one_after_the_other(scene, ["doing rename RUN.partial"])
    abandon = ("sweep", "--abandon", the_run(scene))
    kill_one_after_the_other(scene, ABANDONING, *abandon)
    assert scene.run(*abandon) == 0, scene.said
    assert set(scene.site.points()) == scene.before.points
    ending.assert_nothing_left(scene.site, scene.directory)


def test_a_snapshot_that_is_gone_is_replaced_though_that_is_killed_at_every_step(scene: Scene):
    """The guest writes on meanwhile: no byte of the point is of the old moment."""
    kill_one_after_the_other(scene, ["copied 2000:40"])
    for attempt, moment in enumerate(REPLACING):
        if moment in (REPLACING[0], REPLACING[-1]):
            remove_by_hand(scene)
        write_to_all(scene, attempt)
        assert scene.kill(Kill("runner", moment)) == -9
    assert scene.run() == 0, scene.said
    the_run(scene)
    ending.assert_one_right_point(scene.site, scene.before)
    ending.assert_nothing_left(scene.site, scene.directory)


def test_a_sweep_of_what_was_held_too_long_is_finished_after_kills(scene: Scene):
    hold = ("--set", "hold=0s")
    kill_one_after_the_other(scene, ["copied 2000:40"], "run", *hold)
    kill_one_after_the_other(scene, SWEEPING, "sweep", *hold)
    assert scene.run("sweep", *hold) == 0, scene.said
    assert scene.site.snapshots() == []
    assert scene.site.partials(), "what was copied is kept"
    write_to_all(scene, 0)
    assert scene.run("run", *hold) == 0, scene.said
    the_run(scene)
    ending.assert_one_right_point(scene.site, scene.before)
    ending.assert_nothing_left(scene.site, scene.directory)


def test_a_run_that_published_and_could_not_say_so_is_swept_and_finished(scene: Scene):
    """Its snapshot is needed for nothing any more, and there is nothing to copy again."""
    hold = ("--set", "hold=0s")
    kill_one_after_the_other(scene, [RENAMED], "run", *hold)
    assert scene.run("sweep", *hold) == 0, scene.said
    assert scene.site.snapshots() == []
    assert scene.run("run", *hold) == 0, scene.said
    the_run(scene)
    ending.assert_one_right_point(scene.site, scene.before)
    ending.assert_nothing_left(scene.site, scene.directory)
    assert ending.Before.of(scene.site).created == scene.before.created + 1, "another snapshot was taken"


def write_to_all(scene: Scene, number: int) -> None:
    for key in KEYS:
        scene.site.lab.write("vm", key, (2 + number) << 20, iter([bytes([number + 1, key & 0xFF]) * 4096]))


def remove_by_hand(scene: Scene) -> None:
    """Every snapshot of the VM, as somebody would in vSphere."""
    vcenter = read_job(scene.job, Options()).sections["vcenters"]["lab"]
    vm = scene.output("discover")["vm"]["moref"]
    with Client("lab", vcenter) as client:  # type: ignore[arg-type]
        for found in snapshots.listed(client, vm):
            snapshots.remove(client, vm, found.moref)


def test_writes_that_were_interrupted_leave_no_temporary_file(scene: Scene):
    """Where the runner stands on the hub: on another host, the script that writes notices that we died."""
    document = yaml.safe_load(scene.job.read_text())
    document["repositories"]["main"]["host"] = "local"
    document["state"] = {"path": str(scene.site.directory / "records")}
    scene.job.write_text(yaml.safe_dump(document, sort_keys=False))
    kill_one_after_the_other(scene, ["writing run.json"])
    assert scene.ids() == set()  # it died before it began
    moments = ("writing snapshot.json", "writing disk-2000.blake3", "writing manifest.json")
    kill_one_after_the_other(scene, moments)
    assert scene.run() == 0, scene.said
    the_run(scene)
    ending.assert_one_right_point(scene.site, scene.before)
    ending.assert_nothing_left(scene.site, scene.directory)
    (run,) = scene.ids()
    assert [path.name for path in scene.site.directory.glob("records/*/*-*") if path.is_dir()] == [run]
