"""VMs that restores made and did not finish: found by their marks, removed with their run, and no other VM ever."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from runner.app.options import Options
from runner.app.sweep import abandon_run
from runner.base.errors import UsageError
from runner.cli import main
from runner.engine.teardown import UnwindError
from steps.lab.lab import Lab
from steps.new_vm.unfinished import interim_name
from steps.vsphere import marks
from steps.vsphere.marks import Mark
from tests.e2e.administrator import Administrator, administrator
from tests.e2e.site import Site, disk, inventory

RUN, RUNNING, MOVED, ELSEWHERE = (f"20260101T000000Z-{number:08x}" for number in range(4))


def made_by(run: str, job: str = "vm-backup", **more: object) -> dict[str, object]:
    mark = Mark(run=run, job=job, holder="node pid 1", point="vm/20251231T000000Z-0000").model_dump_json()
    settings = {"powered-on": False, "extra-config": {marks.RESTORE: mark}, "disks": [disk(2000, "1 MiB", 0, 1)]}
    return {"name": interim_name("vm", run), **settings, **more}


INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "1 MiB", 0, 1)]},
    made_by(RUN),
    made_by(RUN, name="clone of vm"),
    made_by(RUNNING, **{"powered-on": True}),
    made_by(MOVED, folder="moved"),
    made_by(ELSEWHERE, job="another"),
)


@pytest.fixture(scope="module")
def admin(lab: Lab) -> Iterator[Administrator]:
    with administrator(lab) as one:
        yield one


def sweep(capsys: pytest.CaptureFixture[str], *words: object) -> str:
    """What it says."""
    with pytest.raises(SystemExit) as left:
        main(["sweep", *map(str, words)])
    assert not left.value.code
    return capsys.readouterr().err


def test_they_are_named_for_any_job_of_the_site_and_nothing_is_removed_without_its_run(
    site: Site, admin: Administrator, capsys: pytest.CaptureFixture[str]
) -> None:
    before = admin.names()
    for job in (site.directory / "site.yaml", site.job("vm")):
        told = sweep(capsys, job, "--orphans")
        for run in (RUN, RUNNING, MOVED, ELSEWHERE):
            (line,) = [one for one in told.splitlines() if f"unfinished VM vm (restoring {run})" in one]
            assert f"`sendense sweep {job} --abandon {run}`" in line
        (copy,) = [one for one in told.splitlines() if "unfinished VM clone of vm" in one]
        assert "may be somebody's copy" in copy
        assert admin.names() == before


def test_what_a_run_made_goes_with_it_and_no_other_vm_does(site: Site, admin: Administrator) -> None:
    before = admin.names()
    abandon_run(site.job("vm"), RUN, Options())
    assert admin.names() == [name for name in before if name != interim_name("vm", RUN)]
    with pytest.raises(UsageError, match="has no unfinished run"):
        abandon_run(site.job("vm"), RUN, Options())


def test_one_that_runs_is_switched_off_by_a_person_first(site: Site, admin: Administrator) -> None:
    name = interim_name("vm", RUNNING)
    with pytest.raises(UnwindError, match="is powered on, so it is not removed"):
        abandon_run(site.job("vm"), RUNNING, Options())
    assert name in admin.names()
    admin.task(admin.vm(name), "PowerOffVM_Task")
    abandon_run(site.job("vm"), RUNNING, Options())
    assert name not in admin.names()


def test_one_that_was_renamed_meanwhile_is_left_alone(site: Site, admin: Administrator) -> None:
    admin.task(admin.vm(interim_name("vm", MOVED)), "Rename_Task", newName="mine")
    with pytest.raises(UsageError, match="has no unfinished run"):
        abandon_run(site.job("vm"), MOVED, Options())
    assert "mine" in admin.names()
