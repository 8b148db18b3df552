"""What a plan, the doctor and the next run make of a run that ended before it was done."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from runner.app.inspection import diagnose
from runner.app.options import Options, read_job
from runner.app.status import status_of
from runner.app.sweep import abandon_run, sweep_job
from runner.base.units import MiB
from runner.cli import main
from runner.engine.doctor import Diagnosis
from runner.events.events import Event, NodeStarted
from steps.lab.simulator.machine_spec import DiskSpec
from steps.vsphere import snapshots
from steps.vsphere.client import Client
from steps.vsphere.section import VCenter
from tests.estate import VM, Estate, disk, estate, inventory, machine, read
from tests.records import rewrite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    """A VM of one tracked disk, and one with a disk that no snapshot covers."""
    vms = inventory(
        machine(disk(2000, "3 MiB", content={"pattern": 1}), change_tracking=True),
        machine(disk(2000, "1 MiB"), disk(2001, "1 MiB", 1, mode="independent_persistent"), name="odd"),
    )
    with estate(tmp_path, {"prod": vms}) as made:
        yield made


def stopped_at(site: Estate, job: Path, node: str) -> str:
    """The run's id."""
    stop = threading.Event()

    def there(event: Event) -> None:
        if isinstance(event, NodeStarted) and event.node == node:
            stop.set()

    ran = site.run(job, there, stop=stop)
    assert ran.exit_code == 130
    return ran.result.run


def examined(site: Estate, job: Path) -> Diagnosis:
    return diagnose(job, Options(state=site.directory / "state"))


def wrong(found: Diagnosis) -> list[str]:
    return [one.sentence for one in found.observations if one.state == "wrong"]


def record_of(site: Estate, run: str, node: str) -> Path:
    (path,) = site.directory.glob(f"**/{run}/nodes/{node}.json")
    return path


def a_day_passes(record: Path) -> None:
    def age(content: dict[str, Any]) -> None:
        created = datetime.fromisoformat(content["out"]["created"]) - timedelta(days=1)
        content["out"]["created"] = created.isoformat()

    rewrite(record, age)


def remove_snapshot(site: Estate, run: str) -> None:
    taken = json.loads(record_of(site, run, "snapshot").read_bytes())["out"]
    vcenter = read_job(site.job(), Options()).sections["vcenters"]["prod"]
    with Client("prod", cast("VCenter", vcenter)) as client:
        snapshots.remove(client, taken["vm"], taken["moref"])


def kill_before_it_is_recorded(record: Path) -> None:
    def forget(content: dict[str, Any]) -> None:
        content.update(state="intent", out=None)

    rewrite(record, forget)


@pytest.mark.parametrize(
    "meanwhile",
    [
        pytest.param(lambda record: None, id="stopped", marks=pytest.mark.torture),
        pytest.param(a_day_passes, id="its-hold-is-over"),
        pytest.param(kill_before_it_is_recorded, id="killed-before-the-snapshot-was-recorded"),
    ],
)
def test_a_run_that_can_go_on_is_called_sound_and_the_snapshot_is_known_as_its_own(
    site: Estate, meanwhile: Any
) -> None:
    job = site.job()
    site.backup(job)
    assert wrong(examined(site, job)) == []
    site.vcenter.write(VM, 2000, MiB, b"a" * MiB)
    run = stopped_at(site, job, "transfer[2000]")
    meanwhile(record_of(site, run, "snapshot"))

    plan = site.plan(job)
    assert plan.resumes == run
    assert plan.problems == ()
    found = examined(site, job)
    assert wrong(found) == []
    assert [one.found for one in found.observations if run in one.found] == [
        f"run {run} is unfinished: `sendense run {job} --state={site.directory / 'state'}` resumes it"
    ]
    site.backup(job)


def test_a_vm_with_the_snapshot_of_another_jobs_run_is_locked_by_that_run(site: Estate) -> None:
    """Whatever it says of the disks, which are not flat any more."""
    run = stopped_at(site, site.job("elsewhere"), "transfer[2000]")
    job = site.job()
    (problem,) = site.plan(job).problems
    (found,) = wrong(examined(site, job))
    refused = site.run(job)
    assert refused.exit_code == 3
    assert f"VM {VM} is locked by another run: run {run} of elsewhere on " in refused.error
    assert refused.acted() == {"discover"}
    assert found in refused.error
    assert problem == f"snapshot: {found}"
    assert site.run(site.job("elsewhere")).exit_code == 0
    assert site.run(job).exit_code == 0


@pytest.mark.parametrize("broke_off", ["at its snapshot", "in a copy, and the snapshot is gone"])
def test_a_run_that_takes_a_snapshot_takes_it_of_the_disks_as_they_are_now(site: Estate, broke_off: str) -> None:
    job = site.job()
    if broke_off == "at its snapshot":
        site.vcenter.fault("fail-task", method="CreateSnapshot_Task")
        first = site.run(job)
        assert list(first.failures()) == ["snapshot"]
        run = first.result.run
    else:
        run = stopped_at(site, job, "transfer[2000]")
        remove_snapshot(site, run)
    site.vcenter.grow(VM, 2000, 4 * MiB)
    site.vcenter.add_disk(VM, DiskSpec.from_json_value(disk(2001, "1 MiB", 1)))

    plan = site.plan(job)
    assert plan.resumes == run
    assert plan.problems == ()
    assert {node.id: node.action for node in plan.nodes}["discover"] == "run"
    assert wrong(examined(site, job)) == []
    if broke_off != "at its snapshot":
        site.vcenter.fault("fail-call", method="RetrievePropertiesEx")  # which looks whether it is there
        assert list(site.run(job).failures()) == ["snapshot"]
    ran = site.run(job)
    assert ran.exit_code == 0, ran.error
    assert ran.result.run == run
    (point,) = ran.points()
    assert {one.key: one.capacity for one in read(point).disks} == {2000: 4 * MiB, 2001: MiB}


def test_a_run_whose_point_is_published_is_called_sound_though_it_holds_its_snapshot(site: Estate) -> None:
    job = site.job()
    site.vcenter.fault("fail-task", method="RemoveSnapshot_Task")
    ran = site.run(job)
    assert ran.exit_code == 1
    assert "unwinding" in record_of(site, ran.result.run, "../run").read_text()
    assert wrong(examined(site, job)) == []
    assert site.plan(job).problems == ()
    assert site.run(job).exit_code == 0


def test_who_does_what_the_refusal_says_gets_a_run_and_not_a_word_of_the_one_that_did_nothing(
    site: Estate, capsys: pytest.CaptureFixture[str]
) -> None:
    job = site.job(vm="odd")
    refused = site.run(job)
    assert refused.exit_code == 1
    assert "leave them out with `skip-uncovered: [2001]` on discover" in refused.error
    assert "in `template: backup` the variable `skip_uncovered`" in refused.error
    with pytest.raises(SystemExit):
        main(["sweep", str(job), f"--state={site.directory / 'state'}"])
    said = capsys.readouterr().err
    assert f"run {refused.result.run} is unfinished and holds nothing" in said

    mended = site.job(vm="odd", skip_uncovered=[2001])
    assert site.plan(mended).resumes is None
    assert wrong(examined(site, mended)) == []
    ran = site.run(mended)
    assert ran.exit_code == 0, ran.error
    phases = {one.id: one.phase for one in status_of(mended, Options(state=site.directory / "state")).runs}
    assert phases == {refused.result.run: "abandoned", ran.result.run: "finished"}


def test_a_sweep_names_what_an_unfinished_run_holds(site: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    job, state = site.job(), Options(state=site.directory / "state")
    run = stopped_at(site, job, "transfer[2000]")
    for dry_run in (True, False):
        released, holding, _ = sweep_job(job, state, dry_run=dry_run)
        assert released == ()
        assert list(holding) == [run]
        assert any(hold.what.startswith(f"snapshot sendense-{run} of VM {VM}") for hold in holding[run])
    with pytest.raises(SystemExit):
        main(["sweep", str(job), "--dry-run", f"--state={state.state}"])
    said = capsys.readouterr().err
    assert (
        f"run {run} is unfinished: run the job again to resume it, or discard it with --abandon {run}; it holds:"
        in said
    )
    assert f"  snapshot sendense-{run} of VM {VM}" in said
    assert site.run(job).exit_code == 0


def test_a_run_with_a_record_of_another_version_is_shown_and_given_up_with_all_that_is_called_after_it(
    site: Estate,
) -> None:
    job, state = site.job(), Options(state=site.directory / "state")
    run = stopped_at(site, job, "transfer[2000]")
    rewrite(record_of(site, run, "image[[]i2000]"), lambda content: content["inputs"].pop("repository"))
    (told,) = status_of(job, state).held.values()
    assert any(f"image[2000] made (with {run} in its name), which cannot be checked now" in one.what for one in told)
    abandon_run(job, run, state)
    assert not site.vcenter.snapshots(VM)
    assert not list(site.repository().glob("*/*.partial"))
    assert site.run(job).exit_code == 0


def test_a_run_that_cannot_even_be_gone_on_with_ends_with_a_word(site: Estate) -> None:
    """Its point was published, and what that lacks is made good before all else: of a manifest that went bad."""
    job = site.job()
    site.vcenter.fault("fail-task", method="RemoveSnapshot_Task")
    run = site.run(job).result.run
    kill_before_it_is_recorded(record_of(site, run, "publish"))
    (manifest,) = site.repository().glob("*/*/manifest.json")
    whole = manifest.read_bytes()
    manifest.write_bytes(whole[:-9])
    ran = site.run(job)
    assert (ran.exit_code, ran.result.run) == (1, run)
    assert ran.events[-1].type == "run-finished" and str(manifest) in ran.error
    assert not [event for event in ran.events if event.type == "held" and "image" in event.what], "it is published"
    manifest.write_bytes(whole)
    assert site.run(job).exit_code == 0


def test_a_run_that_was_given_no_disk_can_be_discarded(site: Estate) -> None:
    """As the restore of a point whose manifest names none left it."""
    job, options = site.directory / "nothing.yaml", Options(state=site.directory / "state")
    job.write_text("{version: 1, name: nothing, steps: [{id: end, uses: finalize-restore, with: {disks: []}}]}")
    first, second = site.run(job), site.run(job, fresh=True)
    assert (first.exit_code, second.exit_code) == (1, 1)
    assert "no disk was given" in str(second.error)
    assert first.result.run != second.result.run
    abandon_run(job, second.result.run, options)
    assert {run.phase for run in status_of(job, options).runs} == {"abandoned"}
