"""What lost runs left is asked of the installed sections; a toy one stands for vCenters and repositories here."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from runner.app.options import Options
from runner.app.records import new_record
from runner.app.sweep import abandon_run, sweep_orphans
from runner.base.errors import LockedError, SendenseError, UsageError
from runner.base.model import HostName
from runner.engine.job_state import JobState
from runner.engine.teardown import UnwindError
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.state_place import StatePlace
from runner.job.load import load
from runner.step.context import Context
from runner.step.registry import Registry
from runner.step.section import Orphan, Section, Surroundings
from tests.runner.toys import STEPS

RUN = "20260101T000000Z-00c0ffee"
OTHER = "20260101T000000Z-0ddba115"


class Shed(Section):
    """A directory where each file named after a run is what that run left: its text is ``free``, ``busy``, ``copied``, or
    ``locked`` for what another run takes at the last moment."""

    host: HostName
    path: str

    @classmethod
    def orphans(cls, ctx: Context, surroundings: Surroundings) -> Iterator[Orphan]:
        for name, shed in surroundings.sections.get("sheds", {}).items():
            host = ctx.host(shed.host)
            assert shed.host in surroundings.hosts
            for run in filter(lambda name: not name.startswith("."), host.listdir(shed.path)):
                path = posixpath.join(shed.path, run)
                state = host.read(path).decode().strip()
                stays = "somebody sits on it" if state == "busy" else surroundings.kept(run, None)
                release = partial(_taken, run) if state == "locked" else partial(host.remove, path)
                yield Orphan(f"a barrow in {name}", run, stays, release, copied=state == "copied")

    def state_place(self) -> StatePlace:
        def ready(host: Host) -> None:
            if host.exists(posixpath.join(self.path, ".unmounted")):
                raise SendenseError("the shed is not mounted")

        return StatePlace(self.host, posixpath.join(self.path, ".records"), ready)


def _taken(run: str) -> None:
    raise LockedError(f"the barrow of {run}", "the gardener")


@pytest.fixture
def shed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    registry = Registry(STEPS, {"sheds": Shed})
    monkeypatch.setattr(Registry, "installed", classmethod(lambda cls: registry))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    (tmp_path / "shed").mkdir()
    (tmp_path / "garden.yaml").write_text(
        f"version: 1\nname: garden\nhosts: {{here: local}}\nsheds: {{main: {{host: here, path: {tmp_path}/shed}}}}\n"
        f"steps:\n  - {{id: look, uses: look, with: {{root: {tmp_path}}}}}\n"
    )
    return tmp_path / "shed"


def job(shed: Path) -> Path:
    return shed.parent / "garden.yaml"


def remember(shed: Path, root: Path, run: str) -> None:
    """An unfinished run of the job, with its records below `root`."""
    state = JobState(LocalHost("local"), str(root), "garden").open(run)
    state.create(new_record(load(job(shed), Registry.installed(), {}), run))


def test_what_a_section_finds_is_released_and_a_dry_run_only_says_so(shed: Path) -> None:
    (shed / RUN).write_text("free")
    assert sweep_orphans(job(shed), Options(), dry_run=True).released == ("a barrow in main",)
    assert (shed / RUN).exists()
    assert sweep_orphans(job(shed), Options()).released == ("a barrow in main",)
    assert not (shed / RUN).exists()


@pytest.mark.parametrize(
    ("state", "why"),
    [
        pytest.param("busy", "somebody sits on it", id="in-use"),
        pytest.param("copied", f"--abandon {RUN}", id="with-copied-data"),
        pytest.param("locked", "the gardener", id="taken-at-the-last-moment"),
    ],
)
def test_what_must_stay_is_named_with_the_reason(shed: Path, state: str, why: str) -> None:
    (shed / RUN).write_text(state)
    (shed / OTHER).write_text("free")
    swept = sweep_orphans(job(shed), Options())
    (stays,) = swept.stays
    assert stays.startswith("a barrow in main: ")
    assert why in stays
    assert (shed / RUN).exists()
    assert not (shed / OTHER).exists(), "one that stays keeps no other"


def test_what_an_unfinished_run_of_the_job_holds_is_no_orphan(shed: Path) -> None:
    (shed / RUN).write_text("free")
    remember(shed, shed.parent / "state" / "sendense", RUN)
    swept = sweep_orphans(job(shed), Options())
    assert (swept.released, swept.stays) == ((), ())


def test_records_beside_an_entry_of_a_section_keep_what_their_run_left(shed: Path) -> None:
    (shed / RUN).write_text("free")
    remember(shed, shed / ".records", RUN)
    (stays,) = sweep_orphans(job(shed), Options()).stays
    assert f"--abandon {RUN}" in stays
    assert (shed / RUN).exists()


def test_records_that_cannot_be_seen_are_not_taken_for_absent(shed: Path) -> None:
    (shed / RUN).write_text("free")
    (shed / ".unmounted").touch()
    with pytest.raises(SendenseError, match="not mounted"):
        sweep_orphans(job(shed), Options())
    assert (shed / RUN).exists()


def test_abandoning_a_lost_run_by_its_id_releases_all_it_left_and_nothing_else(shed: Path) -> None:
    (shed / RUN).write_text("copied")
    (shed / OTHER).write_text("copied")
    abandon_run(job(shed), RUN, Options())
    assert [path.name for path in shed.iterdir()] == [OTHER]
    with pytest.raises(UsageError, match=f"has no unfinished run {RUN}"):
        abandon_run(job(shed), RUN, Options())


def test_abandoning_names_what_stays(shed: Path) -> None:
    (shed / RUN).write_text("busy")
    with pytest.raises(UnwindError, match="a barrow in main is kept: somebody sits on it"):
        abandon_run(job(shed), RUN, Options())


def test_a_place_that_cannot_be_looked_at_ends_the_sweep(shed: Path) -> None:
    shed.rmdir()
    shed.write_text("no directory")
    with pytest.raises(SendenseError):
        sweep_orphans(job(shed), Options())
