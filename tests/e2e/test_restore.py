"""Restore points become files again: in every format, from any point of a chain, and not a byte otherwise."""

from __future__ import annotations

import filecmp
import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from runner.base.render import shipped
from runner.base.units import MiB
from runner.cli import main
from runner.engine.job_state import JobState
from runner.hosts.local import LocalHost
from steps.lab.lab import Lab
from steps.repository import verification_records
from tests.chains import Reference, incremental, manifest_of, qemu, reference
from tests.e2e.site import Site, disk, inventory
from tests.hub import tree
from tests.marks import marks

SPARSE = {
    "key": 2000, "controller": 1000, "unit": 0, "size": "40 MiB", "content": {"pieces": [
        {"offset": 0, "length": "3 MiB", "seed": 1}, {"offset": "20 MiB", "length": "2 MiB", "seed": 2}]},
}  # fmt: skip
INVENTORY = inventory({"name": "vm", "disks": [SPARSE, disk(2001, "3 MiB + 512 B", 1, 2)]})
KEYS = (2000, 2001)
ROOT = Path(__file__).parents[2]
EXTENSIONS = {"vmdk-stream": "vmdk"}


@pytest.fixture(scope="module")
def points(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> list[Reference]:
    """A full, and two incrementals on it."""
    directory = tmp_path_factory.mktemp("references")
    site = Site(lab, directory / "state")
    ran = site.run("vm")
    assert ran.exit_code == 0, ran.error
    full = reference(ran.points()[0], directory)
    first = incremental(full, directory, seed=1)
    return [full, first, incremental(first, directory, seed=2)]


def sendense(site: Site, command: str, *arguments: object) -> int:
    with pytest.raises(SystemExit) as left:
        main([command, str(site.job("vm")), *map(str, arguments), "--state", str(site.state)])
    assert isinstance(left.value.code, int)
    return left.value.code


def restored(directory: Path, key: int, form: str) -> Path:
    return directory / f"vm-disk-{key}.{EXTENSIONS.get(form, form)}"


def is_equal(file: Path, form: str, raw: Path) -> bool:
    extension = EXTENSIONS.get(form, form)
    return qemu("qemu-img", "compare", "-f", extension, "-F", "raw", file, raw) == "Images are identical.\n"


@pytest.mark.parametrize(
    ("number", "form", "to"),
    [
        pytest.param(0, "raw", "{}", id="full as raw, here"),
        pytest.param(1, "raw", "{}", id="incremental as raw, here"),
        pytest.param(2, "raw", "store:{}", id="incremental on incremental as raw, on the hub"),
        pytest.param(2, "qcow2", "{}", id="incremental on incremental as qcow2, here"),
        pytest.param(0, "vmdk", "store:{}", id="full as vmdk, on the hub"),
        pytest.param(2, "vmdk-stream", "{}", id="incremental on incremental as a stream, here"),
    ],
)
def test_every_point_restores_to_the_bytes_of_its_moment(
    site: Site, points: list[Reference], tmp_path: Path, number: int, form: str, to: str
):
    point, place = points[number], tmp_path / "restored"
    code = sendense(site, "restore", point.point, "--to", to.format(place), "--format", form)
    assert code == 0
    assert sorted(path.name for path in place.iterdir()) == [restored(place, key, form).name for key in KEYS]
    for key in KEYS:
        file = restored(place, key, form)
        assert is_equal(file, form, point.disks[key])
        assert file.stat().st_mode & 0o777 == 0o600
        of = next(disk for disk in manifest_of(point.point).disks if disk.key == key)
        assert file.stat().st_blocks * 512 <= of.data + MiB, "holes were written"


def test_a_restore_onto_a_file_that_is_there_goes_on_once_it_may_replace_it(
    site: Site, points: list[Reference], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    place = tmp_path / "restored"
    place.mkdir()
    restored(place, 2001, "raw").write_text("mine")
    words = ("restore", points[0].point, "--to", place, "--format", "raw")
    assert sendense(site, *words) == 1
    typed = f"sendense restore {site.job('vm')} {points[0].point} --to {place} --format raw --state {site.state}"
    assert f"fix that first, then: {typed}\n" in "".join(capsys.readouterr().err.splitlines(keepends=True))
    assert sendense(site, *words, "--overwrite") == 0
    where = f"The VM's configuration and NVRAM are in {points[0].point / 'vm'} on store."
    assert where in " ".join("".join(capsys.readouterr()).split())
    assert filecmp.cmp(restored(place, 2001, "raw"), points[0].disks[2001], shallow=False)
    (job,) = (site.state / ".commands").glob("restore-*.yaml")
    assert JobState(LocalHost(), str(site.state), job.stem).runs().unfinished is None


def test_what_speaks_against_a_point_is_a_warning_of_its_restore_and_of_its_plan(
    site: Site, points: list[Reference], tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    point = points[1].point
    why = verification_records.Suspicion(key=2000, why="tracking missed a write", run="r", at=datetime.now(UTC))
    verification_records.suspect(LocalHost(), str(point), why)
    try:
        words = ("restore", point, "--to", tmp_path / "restored", "--disk", 2001)
        assert sendense(site, *words, "--dry-run") == 0
        assert "Disk 2000 is suspect: tracking missed a write." in " ".join(capsys.readouterr().out.split())
        assert sendense(site, *words) == 0
        assert (
            f"point  warning: {point.name}: Disk 2000 is suspect: tracking missed a write." in capsys.readouterr().err
        )
    finally:
        (marks(point) / verification_records.SUSPECT).unlink()


@pytest.mark.parametrize(
    ("more", "sentence", "begun"),
    [
        pytest.param(("--disk", 2009), "has no disk 2009; it has 2000, 2001", False, id="a disk that it has not"),
        pytest.param((), "is a file, not a directory", True, id="a file as the place"),
    ],
)
def test_a_restore_that_cannot_be_is_a_sentence(
    site: Site,
    points: list[Reference],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    more: tuple[object, ...],
    sentence: str,
    begun: bool,
):
    (tmp_path / "file").touch()
    assert sendense(site, "restore", points[0].point, "--to", tmp_path / "file", *more) != 0
    assert sentence in capsys.readouterr().err
    assert site.state.exists() == begun


def test_the_shipped_job_restores(site: Site, points: list[Reference], tmp_path: Path):
    values = {"lab": str(site.directory), "point": points[2].point.name, "directory": str(tmp_path / "restored")}
    ran = site.run(shipped("jobs/restore.yaml"), **values)
    assert ran.exit_code == 0, ran.error
    for key in KEYS:
        assert filecmp.cmp(restored(tmp_path / "restored", key, "raw"), points[2].disks[key], shallow=False)
    again = site.run(shipped("jobs/restore.yaml"), **values)
    assert again.exit_code == 1
    assert "exists already and is not overwritten" in again.error


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A file system on which either disk fits, but not both."""
    place = tmp_path / "small"
    place.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=7m", "tmpfs", place], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip(f"mount is not allowed here: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", place], check=True)


def test_disks_that_do_not_fit_together_are_a_sentence_before_anything_is_written(
    site: Site, points: list[Reference], small: Path, capfd: pytest.CaptureFixture[str]
):
    assert sendense(site, "restore", points[0].point, "--to", small, "--format", "raw") == 1
    said = capfd.readouterr().err
    assert "it does not fit (disk 2000: " in said
    assert "nothing was changed" in said
    assert list(small.iterdir()) == []
    # With room, the same command resumes it.
    subprocess.run(["mount", "-o", "remount,size=64m", small], check=True)
    assert sendense(site, "restore", points[0].point, "--to", small, "--format", "raw") == 0
    assert "resumes run" in capfd.readouterr().err
    assert all(filecmp.cmp(restored(small, key, "raw"), points[0].disks[key], shallow=False) for key in KEYS)


class Served:
    """`sendense serve` as a person runs it."""

    def __init__(self, site: Site, *arguments: object) -> None:
        argv = [sys.executable, "-m", "runner.cli", "serve", str(site.job("vm")), *map(str, arguments), "--json"]
        self.process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, cwd=ROOT)

    def __enter__(self) -> Served:
        assert self.process.stdout is not None
        text = b""
        while not text.endswith(b"\n}\n"):
            line = self.process.stdout.readline()
            assert line, self.process.communicate()[1].decode()
            text += line
        self.uris = {disk["key"]: disk["uri"] for disk in json.loads(text)["disks"]}
        return self

    def __exit__(self, *_: object) -> None:
        self.process.send_signal(signal.SIGINT)
        said = self.process.communicate(timeout=60)[1].decode()
        assert self.process.returncode == 0, said
        sockets = [Path(uri.partition("socket=")[2]) for uri in self.uris.values()]
        assert not [socket for socket in sockets if socket.parent.exists()]


def test_a_served_point_reads_as_at_its_moment(site: Site, points: list[Reference], tmp_path: Path):
    with Served(site, points[2].point) as served:
        assert set(served.uris) == set(KEYS)
        for key, uri in served.uris.items():
            qemu("nbdcopy", uri, tmp_path / f"{key}.raw")
            assert filecmp.cmp(tmp_path / f"{key}.raw", points[2].disks[key], shallow=False)


def test_what_is_written_to_a_served_point_is_thrown_away(site: Site, points: list[Reference]):
    repository = site.repository
    before = tree(repository)
    with Served(site, points[2].point, "--disk", 2000, "--writable") as served:
        uri = served.uris[2000]
        qemu("qemu-io", "-f", "raw", "-c", "write -P 77 0 1M", "-c", "flush", "-c", "read -P 77 0 1M", uri)
    assert tree(repository) == before
