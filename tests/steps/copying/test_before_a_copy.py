"""Before anything is copied: whether it fits, and whether the host that keeps the copies can do what is asked. And what
becomes of a copy that is discarded."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.app.options import Options, read_job
from runner.app.outside import context_outside_of_runs
from runner.base.errors import SendenseError
from runner.base.units import GiB, KiB, MiB
from runner.base.waiting import NEVER
from runner.cli import main
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.step.preflight import Known
from runner.step.tools import Program
from steps.copies import size
from steps.copies.disk import DiskCopy
from steps.copying.copy_new_point import CopyNewPoint
from steps.copying.plan_copies import PlanCopies, PlanCopiesIn
from steps.repository import layout, marker, reader
from steps.trail import log
from steps.values.copy_form import CopyForm
from steps.values.copy_rule import CopyRule
from tests.chain import Chain
from tests.hub import Hub, hub_on, tree

pytestmark = pytest.mark.slow

HOST = LocalHost("hub")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(HOST, str(tmp_path / "main"), tmp_path) as opened:
        yield opened


@pytest.fixture
def chain(hub: Hub) -> Chain:
    made = Chain(Path(hub.root))
    made.add({2000: None}, {2000: ((0, 512, 1), (2 * MiB, MiB, 7))})
    made.add({2000: 0}, {2000: ((MiB, MiB, 2),)})
    made.add({2000: 1}, {2000: ((3 * MiB, MiB, 3),)})
    return made


@pytest.fixture
def site(chain: Chain) -> Path:
    offsite = chain.root.with_name("offsite")
    marker.init(HOST, str(offsite))
    path = chain.root.with_name("site.yaml")
    places = f"main: {{host: hub, path: {chain.root}}}, offsite: {{host: hub, path: {offsite}}}"
    path.write_text(f"version: 1\nhosts: {{hub: local}}\nrepositories: {{{places}}}\n")
    return path


def sendense(command: str, site: Path, *words: str, state: Path | None = None) -> int:
    with pytest.raises(SystemExit) as left:
        main((command, f"--state={state or site.with_name('state')}", str(site), *words))
    return int(left.value.code or 0)


def copies(chain: Chain) -> Path:
    return chain.root.with_name("offsite") / chain.directory.name


def whole(directory: Path) -> list[str]:
    return sorted(path.parent.name for path in directory.glob(f"*/{layout.MANIFEST}"))


def test_copies_that_do_not_fit_are_not_begun_and_what_they_take_is_foretold(
    site: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    before = tree(chain.root.with_name("offsite"))
    with monkeypatch.context() as full:
        full.setattr(LocalHost, "free_bytes", lambda self, path: 300 * KiB)
        assert sendense("copy", site, "--to", "offsite", "--dry-run") == 1
        said = " ".join(capsys.readouterr().out.split())
        assert "it does not fit (copies of 3 points of pgtest1)" in said
        assert sendense("copy", site, "--to", "offsite") == 1
    said = " ".join(capsys.readouterr().err.split())
    assert "needed" in said and "300.0 KiB free: it does not fit" in said and "nothing was changed" in said
    assert tree(chain.root.with_name("offsite")) == before
    vm, there = reader.read(HOST, str(chain.directory)), reader.read(HOST, str(copies(chain)))
    foretold = size.of_points(vm, there, vm.entries, CopyForm())
    assert sendense("copy", site, "--to", "offsite") == 0
    took = sum(path.stat().st_blocks * 512 for path in copies(chain).rglob("disk-*"))
    assert foretold.least <= took <= foretold.most < 16 * MiB


@pytest.mark.parametrize(
    ("form", "most"),
    [
        pytest.param(CopyForm(), 2 * MiB, id="what changed"),
        pytest.param(CopyForm(flatten="daily"), 7 * MiB, id="and all of it as a full"),
        pytest.param(CopyForm(compress="zstd"), 3 * MiB, id="and one image twice"),
    ],
)
def test_the_room_for_what_is_newer_than_the_newest_copy(site: Path, chain: Chain, form: CopyForm, most: int) -> None:
    """The first is there, as its copy would be; two of 1 MiB each come on it."""
    vm = reader.read(HOST, str(chain.directory))
    there = reader.read(HOST, str(chain.directory))
    there.entries = vm.entries[:1]
    bounds = size.of_points(vm, there, vm.entries[1:], form)
    beside = 2 * size.BESIDE
    tables = 6 * 512 * KiB
    assert (bounds.least, most + beside <= bounds.most <= most + beside + tables) == (0, True)


@pytest.fixture
def old_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    found = Program.version_on

    def version_on(self: Program, host: Host) -> str:
        return "4.2.1" if self.program == "qemu-img" else found(self, host)

    monkeypatch.setattr(Program, "version_on", version_on)


@pytest.mark.usefixtures("old_qemu")
def test_a_host_whose_qemu_img_cannot_compress_is_told_before_anything_is_copied(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    sentence = "`compress: zstd` takes qemu-img 5.1 or newer, and host hub has 4.2.1"
    words = ("--to", "offsite", "--compress", "zstd")
    assert sendense("copy", site, *words, "--dry-run") == 1
    said = capsys.readouterr()
    assert sentence in " ".join((said.out + said.err).split())
    assert sendense("copy", site, *words) == 1
    assert sentence in " ".join(capsys.readouterr().err.split())
    inputs = PlanCopiesIn(repository="main", to="offsite", compress="zstd")
    with context_outside_of_runs(read_job(site, Options(), part=True), "doctor", NEVER, print) as ctx:
        (zstd,) = PlanCopies().preflight(ctx, Known(inputs=inputs)).observations
        rule = CopyRule(to="offsite", compress="zstd")
        backup = CopyNewPoint().preflight(ctx, Known(told={"rules": (rule,)}))
    assert (zstd.state, sentence in zstd.found) == ("wrong", True), "a doctor says it too"
    assert (len(backup.problems), backup.observations) == (1, ()), "it keeps no backup from beginning"
    assert whole(copies(chain)) == []


def test_a_run_that_is_discarded_leaves_good_copies_that_are_logged_and_nothing_unfinished(
    site: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make, append = DiskCopy.make, log.append

    def breaking(self: DiskCopy, *args: object) -> object:
        made = make(self, *args)  # type: ignore[arg-type]
        if self.disk.point == chain.points[2]:
            raise SendenseError("the cable was pulled")
        return made

    def unlogged(host: Host, root: str, told: log.Told) -> object:
        if told.points == (chain.points[1],):
            raise SendenseError("the disk was away")
        return append(host, root, told)

    with monkeypatch.context() as harm:
        harm.setattr(DiskCopy, "make", breaking)
        harm.setattr(log, "append", unlogged)
        assert sendense("copy", site, "--to", "offsite") == 1
    assert whole(copies(chain)) == chain.points[:2]
    assert list(copies(chain).glob(f"*{layout.PARTIAL}"))
    (job,) = site.with_name("state").glob(".commands/copy-*.yaml")
    run = next(copies(chain).glob(f"*{layout.PARTIAL}")).name.removesuffix(layout.PARTIAL)
    assert sendense("sweep", job, "--abandon", run, state=site.with_name("state")) == 0
    assert not list(copies(chain).glob(f"*{layout.PARTIAL}"))
    assert whole(copies(chain)) == chain.points[:2]
    capsys.readouterr()
    assert sendense("log", site, "--repository", "offsite", "--json") == 0
    (there,) = json.loads(capsys.readouterr().out)["repositories"]
    logged = [entry["points"] for entry in there["entries"]]
    assert logged == [[chain.points[0]], [chain.points[1]]]


def test_what_is_to_stay_free_stays_free(
    site: Path, chain: Chain, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    limited = site.read_text().replace("/offsite}", "/offsite, min-free: 5 GiB}")
    site.write_text(f"{limited}slots: {{in: repositories.offsite}}\n")
    monkeypatch.setattr(LocalHost, "free_bytes", lambda self, path: 4 * GiB)
    assert sendense("copy", site, "--to", "offsite") == 1
    assert "5.0 GiB stay free" in " ".join(capsys.readouterr().err.split())
    assert whole(copies(chain)) == []
