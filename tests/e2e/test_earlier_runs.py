"""What a job makes of earlier runs of its own that it cannot read, or that another version of this program began."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from runner.app.inspection import diagnose
from runner.app.options import Options
from runner.app.status import status_of
from runner.app.sweep import abandon_run, sweep_job
from runner.base.errors import SendenseError, StateError, UsageError
from runner.cli import main
from runner.engine.checkpoint import STATE_SCHEMA_VERSION
from runner.events.events import Event, Warned
from tests.e2e.test_unfinished import record_of, stopped_at, wrong
from tests.estate import VM, Estate, Ran, disk, estate, inventory, machine
from tests.records import rewrite


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "3 MiB", content={"pattern": 1})))}) as made:
        yield made


def run_record(site: Estate, run: str) -> Path:
    (path,) = site.directory.glob(f"**/{run}/run.json")
    return path


def options(site: Estate) -> Options:
    return Options(state=site.directory / "state")


def said(ran: Ran) -> list[str]:
    return [event.text for event in ran.events if isinstance(event, Warned) and event.node == "earlier runs"]


def partials(site: Estate) -> list[Path]:
    return list(site.repository().glob("*/*.partial"))


def damage(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(b'"id"', b'"di"').replace(b'"step_id"', b'"step_di"'))


def test_a_run_is_resumed_though_its_template_has_another_variable_and_another_default_now(site: Estate) -> None:
    job = site.job()
    run = stopped_at(site, job, "transfer[2000]")

    def as_an_older_version(content: dict[str, Any]) -> None:
        content["vars"].pop("sample")
        content["vars"]["window"] = "64 MiB"

    rewrite(run_record(site, run), as_an_older_version)
    assert site.plan(job).resumes == run
    ran = site.run(job)
    assert (ran.exit_code, ran.result.run) == (0, run)


def test_a_variable_that_its_user_wrote_or_writes_now_is_another_job(site: Estate) -> None:
    job = site.job(window="64 MiB")
    run = stopped_at(site, job, "transfer[2000]")
    others = [{}, {"window": "32 MiB"}, {"window": "64 MiB", "stall-timeout": "61s"}]
    for other in (site.job(**settings) for settings in others):
        with pytest.raises(Exception, match="was started with other vars") as refused:
            site.run(other)
        assert getattr(refused.value, "exit_code", None) == 2
    ran = site.run(site.job(window="64 MiB"))
    assert (ran.exit_code, ran.result.run) == (0, run)


def newer(content: dict[str, Any]) -> None:
    content["schema_version"] = STATE_SCHEMA_VERSION + 1


FOREIGN = [
    pytest.param("../run", newer, id="newer"),
    pytest.param(
        "../run", lambda content: content.update(because="night"), id="another-field", marks=pytest.mark.torture
    ),
    pytest.param("snapshot", newer, id="newer-node", marks=pytest.mark.torture),
    pytest.param("snapshot", lambda content: content["inputs"].update(moment="now"), id="another-input"),
    pytest.param(
        "snapshot",
        lambda content: content.update(step="freeze"),
        id="a-step-of-another-name",
        marks=pytest.mark.torture,
    ),
    pytest.param(
        "parent[[]i2000]",
        lambda content: content.update(step="base", step_id="base"),
        id="a-renamed-step",
        marks=pytest.mark.torture,
    ),
    pytest.param("image[[]i2000]", lambda content: content["out"].pop("capacity"), id="another-output"),
]


@pytest.mark.parametrize(("node", "change"), FOREIGN)
def test_a_run_that_another_version_began_is_discarded_and_the_job_starts_over(
    site: Estate, node: str, change: Callable[[dict[str, Any]], None]
) -> None:
    job = site.job()
    point = site.backup(job)
    run = stopped_at(site, job, "transfer[2000]")
    assert len(site.vcenter.snapshots(VM)) == len(partials(site)) == 1
    rewrite(record_of(site, run, node), change)

    plan = site.plan(job)
    assert (plan.resumes, plan.problems) == (None, ())
    (foretold,) = plan.notes
    assert wrong(diagnose(job, options(site))) == []
    sweep_job(job, options(site))  # it holds what was copied
    assert len(site.vcenter.snapshots(VM)) == len(partials(site)) == 1

    ran = site.run(job)
    assert ran.exit_code == 0, ran.error
    assert ran.result.run != run
    assert said(ran) == [foretold]
    assert f"the unfinished run {run} was started by another version of sendense" in foretold
    assert not site.vcenter.snapshots(VM)
    assert not partials(site)
    assert (point / "manifest.json").exists()
    assert {one.id: one.phase for one in status_of(job, options(site)).runs}[run] == "abandoned"
    site.assert_all_equal()
    assert said(site.run(job)) == []


def test_a_point_that_another_versions_run_published_stays_when_that_run_is_discarded(site: Estate) -> None:
    job = site.job()
    site.vcenter.fault("fail-task", method="RemoveSnapshot_Task")
    first = site.run(job)
    assert first.exit_code == 1
    (point,) = first.points()
    rewrite(record_of(site, first.result.run, "snapshot"), lambda content: content["inputs"].update(moment="now"))
    rewrite(record_of(site, first.result.run, "publish"), lambda content: content["inputs"].update(moment="now"))
    ran = site.run(job)
    assert ran.exit_code == 0, ran.error
    assert not site.vcenter.snapshots(VM)
    assert (point / "manifest.json").exists() and (point / "disk-2000.qcow2").exists()


@pytest.mark.parametrize("change", [None, newer], ids=["damaged", "newer"])
def test_a_finished_run_that_cannot_be_read_is_named_and_passed_over(
    site: Estate, capsys: pytest.CaptureFixture[str], change: Callable[[dict[str, Any]], None] | None
) -> None:
    job = site.job()
    site.backup(job)
    other = site.run(job).result.run
    record = run_record(site, other)
    damage(record) if change is None else rewrite(record, change)
    content = record.read_bytes()

    (named,) = site.plan(job).notes
    assert named.startswith(f"run {other} has finished and is ignored: the record {record} ")
    ran = site.run(job)
    assert (ran.exit_code, said(ran)) == (0, [named])
    heard: list[Event] = []
    sweep_job(job, options(site), [heard.append])
    assert [event.text for event in heard if isinstance(event, Warned)] == [named]
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["status", str(job), f"--state={site.directory / 'state'}"])
    told = capsys.readouterr()
    assert ran.result.run in told.out
    assert named in told.err
    with pytest.raises(UsageError, match=f"no unfinished run {other}"):
        abandon_run(job, other, options(site))
    assert record.read_bytes() == content


def test_of_an_unfinished_run_whose_record_is_damaged_the_snapshot_is_named_with_what_releases_it(site: Estate) -> None:
    job = site.job()
    run = stopped_at(site, job, "transfer[2000]")
    damage(run_record(site, run))
    run_record(site, run).write_bytes(b"{")
    ran = site.run(job)
    assert ran.exit_code == 3
    assert f"run {run} of nightly" in ran.error and "`sendense sweep JOB --abandon RUN`" in ran.error
    (named,) = said(ran)
    command = f"`sendense sweep {job} --state={site.directory / 'state'} --abandon {run}` releases it"
    assert f"run {run} is ignored: " in named and command in named
    abandon_run(job, run, options(site))
    assert not site.vcenter.snapshots(VM)
    assert not partials(site)
    again = site.run(job)
    assert (again.exit_code, said(again)) == (0, [])


@pytest.mark.parametrize("how", ["abandon", "fresh"])
def test_of_a_run_with_a_damaged_node_the_error_says_what_releases_all_that_it_holds(site: Estate, how: str) -> None:
    job = site.job()
    run = stopped_at(site, job, "transfer[2000]")
    damage(record_of(site, run, "snapshot"))
    words = f"--abandon {run}` releases what that run holds, which has {run} in its name"
    with pytest.raises(StateError, match=words):
        site.run(job)
    heard: list[Event] = []
    assert sweep_job(job, options(site), [heard.append]).unknown == (run,)
    assert any(words in event.text for event in heard if isinstance(event, Warned))
    if how == "abandon":
        abandon_run(job, run, options(site))
        assert not site.vcenter.snapshots(VM)
        assert not partials(site)
    ran = site.run(job, fresh=how == "fresh")
    assert ran.exit_code == 0, ran.error
    assert not site.vcenter.snapshots(VM)
    assert not partials(site)


@pytest.mark.parametrize("what", ["unmounted", "unreadable"])
def test_a_status_that_nothing_can_be_read_for_is_not_that_there_were_no_runs(
    site: Estate, capsys: pytest.CaptureFixture[str], what: str
) -> None:
    job = site.job()
    run = site.run(job).result.run
    if what == "unmounted":
        site.repository().rename(site.directory / "away")
        site.repository().mkdir()
        sentence = f"{site.repository()} on local is not a repository: mount its disk"
    else:
        damage(run_record(site, run))
        sentence = f"run {run} has finished and is ignored: the record {run_record(site, run)} is damaged"
    for jobs in ([str(job)], [str(job), str(job)]):
        with pytest.raises(SystemExit, match=r"^1$"):
            main(["status", *jobs, f"--state={site.directory / 'state'}"])
        told = capsys.readouterr()
        assert sentence in told.err
        assert "no runs yet" not in told.out


def test_a_job_that_never_ran_says_where_runs_would_be_remembered(
    site: Estate, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match=r"^0$"):
        main(["status", str(site.job()), f"--state={site.directory / 'state'}"])
    assert f"nightly: no runs yet ({site.repository()}/.state/nightly on local has none)" in capsys.readouterr().out


def test_a_run_that_holds_a_snapshot_and_finds_no_secret_is_no_bad_usage(site: Estate) -> None:
    """Exit code 2 says that nothing was touched."""
    job = site.job()
    password = site.directory / "password"
    secret = password.read_text()
    stopped_at(site, job, "transfer[2000]")
    password.unlink()
    ran = site.run(job)
    assert ran.exit_code == 1
    assert f"the secret file {password} cannot be read" in ran.error
    with pytest.raises(SendenseError, match="cannot be read") as refused:
        sweep_job(job, options(site))
    assert refused.value.exit_code == 1
    (held,) = [event for event in ran.events if event.type == "held" and "snapshot" in event.what]
    assert ran.result.run in held.command
    password.write_text(secret)
    assert site.run(job).exit_code == 0
