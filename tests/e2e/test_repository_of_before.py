"""A repository, a job file and an unfinished run that an earlier version of this program made: `tests/before`.

`repository.tar.xz` is a repository with a full, an incremental on it and the records of a run that was stopped in its
copy, made by the version before steps were renamed and their modules moved; `written-out.yaml` is the job as
`sendense render` wrote it then, with the names that steps had.
"""

from __future__ import annotations

import json
import re
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from runner.app.options import Options, read_job
from runner.app.status import status_of
from runner.base.units import MiB
from runner.cli import main
from runner.events.events import Warned
from steps.vsphere import snapshots
from steps.vsphere.client import Client
from steps.vsphere.section import VCenter
from tests.estate import VM, Estate, disk, estate, inventory, machine, of, restored
from tests.records import rewrite

BEFORE = Path(__file__).parents[1] / "before"
PIECES = [{"offset": 0, "length": 8192, "seed": 1}, {"offset": 2 * MiB, "length": 4096, "seed": 2}]
SIZE = 3 * MiB
CHANGED = b"a" * 4096
"""What the guest had written at 1 MiB when the incremental was made."""


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    """The VM as it was at the incremental."""
    vms = inventory(machine(disk(2000, "3 MiB", content={"pieces": PIECES}), change_tracking=True))
    with estate(tmp_path, {"prod": vms}) as made:
        shutil.rmtree(made.repository())
        with tarfile.open(BEFORE / "repository.tar.xz") as archive:
            archive.extractall(tmp_path)
        yield made


@pytest.fixture
def contents(site: Estate) -> dict[Path, bytes]:
    """Of the two points, oldest first."""
    full, incremental = sorted(path.parent for path in site.repository().glob("db-*/*/manifest.json"))
    then = site.vcenter.read(VM, 2000, 0, SIZE)
    site.vcenter.write(VM, 2000, MiB, CHANGED)
    return {full: then, incremental: site.vcenter.read(VM, 2000, 0, SIZE)}


def snapshot_of_before(site: Estate) -> str:
    """The snapshot that the unfinished run holds, in today's vCenter; the run's id."""
    (record,) = site.repository().glob(".state/nightly/*/nodes/snapshot.json")
    taken = json.loads(record.read_bytes())["out"]
    vcenter = read_job(site.job(), Options()).sections["vcenters"]["prod"]
    with Client("prod", cast("VCenter", vcenter)) as client:
        moref = snapshots.create(client, taken["vm"], taken["name"], "", quiesce=False)

    def move(content: dict[str, Any]) -> None:
        content["out"]["moref"] = moref

    rewrite(record, move)
    return record.parent.parent.name


def answer(capsys: pytest.CaptureFixture[str], *words: object) -> Any:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--json"])
    assert ended.value.code == 0, capsys.readouterr().err
    return json.loads(capsys.readouterr().out)


def test_points_of_before_are_listed_verified_restored_and_pruned(
    site: Estate, contents: dict[Path, bytes], capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    site_file = site.directory / "site.yaml"
    (repository,) = answer(capsys, "points", site_file)["repositories"]
    assert [point["point"] for point in repository["points"]] == [path.name for path in contents]
    assert answer(capsys, "verify", site_file, "--all")["exit_code"] == 0
    for point, content in contents.items():
        made = answer(capsys, "restore", site_file, point.name, "--to", tmp_path / point.name, "--format", "raw")
        assert [Path(file).read_bytes() for file in made["files"]] == [content]
    newest = list(contents)[-1]
    answer(capsys, "prune", site_file, VM, "--keep-last", "1", "--yes")
    assert [path.parent for path in site.repository().glob("db-*/*/manifest.json")] == [newest]
    assert restored(newest, 2000, tmp_path / "by-qemu-img") == contents[newest]


def test_an_unfinished_run_of_before_is_discarded_with_a_sentence_and_its_snapshot_released(
    site: Estate, contents: dict[Path, bytes]
) -> None:
    run = snapshot_of_before(site)
    assert len(site.vcenter.snapshots(VM)) == 1
    job = site.job()
    (foretold,) = site.plan(job).notes
    point = site.backup(job)
    assert f"the unfinished run {run} was started by another version of sendense" in foretold
    assert not site.vcenter.snapshots(VM)
    assert not list(site.repository().glob("*/*.partial"))
    assert {one.id: one.phase for one in status_of(job, Options()).runs}[run] == "abandoned"
    assert point.parent == list(contents)[-1].parent, "the VM's directory is the one of before"
    site.assert_all_equal()
    for before, content in contents.items():
        assert restored(before, 2000, site.directory / "restored") == content
    warned = [event.text for event in site.run(job).events if isinstance(event, Warned)]
    assert not [text for text in warned if run in text], "it is told once"


def test_an_incremental_is_backed_by_a_point_of_before(site: Estate, contents: dict[Path, bytes]) -> None:
    for unfinished in site.repository().glob("*/*.partial"):
        shutil.rmtree(unfinished)
    site.vcenter.write(VM, 2000, 0, b"b" * 512)
    # Today's vCenter is another one than then: what changed since is not in its records, but the digests tell.
    point = site.backup(site.job("tonight", incremental="digests"))
    assert of(point, 2000).parent == list(contents)[-1].name
    assert of(point, 2000).written == 1
    site.assert_all_equal()


CHANGED_SINCE = (
    ("uses: ", "base\n", "renamed to 'choose-parent'"),
    ("", "mode: read-only", "no longer has 'mode': .* remove .* the whole step"),
    ("", 'image: "${{ view }}"', "no longer has 'image': .* remove this line, and the start-nbd and open-tunnel steps"),
)
"""What stands in a job file of before, behind what, and what is told of its place."""


def test_a_job_file_of_before_is_told_what_to_change(site: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    job = site.directory / "written-out.yaml"
    job.write_text((BEFORE / "written-out.yaml").read_text().replace("/srv/before", str(site.directory)))
    with pytest.raises(SystemExit) as ended:
        main(["validate", str(job)])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    for behind, written, words in CHANGED_SINCE:
        before, _, _ = job.read_text().partition(behind + written)
        line, column = before.count("\n") + 1, len((before + behind).rpartition("\n")[2]) + 1
        assert re.search(rf"{re.escape(str(job))}:{line}:{column}: .*{words}", said), said
