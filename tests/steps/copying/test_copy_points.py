"""Restore points of one repository are copied into another one, where each reads as its original with qemu-img alone."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.cli import main
from steps.copies.disk import DiskCopy
from steps.qemu import img
from steps.repository import layout, marker, reader
from steps.repository.manifest import PointDisk
from steps.trail import witness
from tests.chain import FIRST, Chain, qemu
from tests.hub import Hub, tree
from tests.steps.copying.conftest import HOST, copies, manifest_of, run, site_of

pytestmark = pytest.mark.slow


def test_every_point_is_copied_and_reads_as_its_original_with_qemu_img_alone(site: Path, chain: Chain) -> None:
    before = tree(chain.root)
    assert run(site) == 0
    there = copies(chain)
    assert there.whole() == set(chain.points)
    assert tree(chain.root) == before, "the source is only read"
    for number in range(4):
        original, copy = manifest_of(chain.path(number)), manifest_of(there.path(number))
        assert witness.digest(copy) == witness.digest(original)
        assert copy.copied is not None and copy.copied.repository == marker.require(HOST, str(chain.root)).uuid
        assert (there.path(number) / layout.VM_FILES / layout.VM_CONFIG).read_bytes() == b"{}"
    vm = reader.read(HOST, str(there.directory))
    assert all(vm.chains.good(entry) for entry in vm.entries) and not vm.unfinished
    assert manifest_of(there.path(1)).disks[0].written == 1
    assert [disk.parent for disk in manifest_of(there.path(3)).disks] == [chain.points[2]]


def test_only_what_is_newer_than_the_newest_copy_is_copied(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(site) == 0
    there = copies(chain)
    shutil.rmtree(there.path(3))
    shutil.rmtree(there.path(0).with_name(chain.points[2]))
    chain.add({2000: None, 2001: None}, {2000: ((0, 512, 4),)})
    capsys.readouterr()
    assert run(site) == 0
    assert there.whole() == {chain.points[number] for number in (0, 1, 2, 3, 4)}
    shutil.rmtree(there.path(1))
    assert run(site) == 0
    assert "nothing to copy" in capsys.readouterr().err
    assert chain.points[1] not in {path.name for path in there.directory.iterdir()}


def test_what_the_chain_was_rebased_onto_does_not_matter_to_a_copy(site: Path, chain: Chain) -> None:
    """The retention of the first repository deletes and rebuilds; copies stand on the copies that are there."""
    assert run(site, "--set", f"point={chain.points[0]}") == 0
    assert run(site, "--set", f"point={chain.points[2]}") == 0
    there = copies(chain)
    assert there.whole() == {chain.points[0], chain.points[2]}
    assert manifest_of(there.path(2)).disks[0].parent == chain.points[0]


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_point_that_is_deleted_while_it_is_copied_is_named_and_the_others_are_copied(
    hub: Hub, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, when: str
) -> None:
    """By the retention of its own repository, which does not wait."""
    chain, make = Chain(Path(hub.root)), DiskCopy.make
    chain.add({2000: None}, {2000: ((0, 512, 1),)})
    chain.add({2000: None}, {2000: ((0, 512, 2),)})
    marker.init(HOST, str(copies(chain).root))

    def delete(copying: DiskCopy, made: PointDisk) -> PointDisk:
        if when == "before":
            shutil.rmtree(chain.path(0), ignore_errors=True)
        done = make(copying, made)
        shutil.rmtree(chain.path(0), ignore_errors=True)
        return done

    monkeypatch.setattr(DiskCopy, "make", delete)
    assert run(site_of(chain.root, copies(chain).root)) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert f"{chain.points[0]} was deleted in main before it could be copied" in said
    assert copies(chain).whole() == {chain.points[1]}
    assert not list(copies(chain).root.rglob(f"*{layout.PARTIAL}"))


def test_rot_in_the_original_is_found_and_not_copied(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    qemu("qemu-io", "-f", "qcow2", "-c", f"write -P 5 {3 * MiB} 512", str(chain.image(0)))
    assert run(site) == 5
    said = " ".join(capsys.readouterr().err.split())
    assert f"does not match its digest at offset {3 * MiB}" in said
    assert copies(chain).whole() == set()


def test_a_repository_that_backups_write_into_takes_no_copies(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    other = Chain(chain.root.with_name("offsite"), "other", "77777777-9f10-4a5e-8b32-0123456789ab")
    other.add({2000: None}, {})
    assert run(site) == 2
    assert "which is no copy" in " ".join(capsys.readouterr().err.split())
    assert not copies(chain).directory.exists()


def test_copies_into_the_repository_itself_are_refused(site: Path, chain: Chain) -> None:
    before = tree(chain.root)
    assert run(site, "--set", "to=main") != 0
    assert tree(chain.root) == before


def copy(site: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(("copy", f"--state={site.with_name('state')}", str(site), *words))
    return int(left.value.code or 0)


def test_the_command_copies_one_point_or_all_and_says_which(
    site: Path, chain: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    assert copy(site, "--to", "offsite", "--dry-run") == 0
    assert "4 points to copy" in capsys.readouterr().out
    assert copies(chain).whole() == set()
    assert copy(site, "pgtest1", "--to", "offsite", "--json") == 0
    (vm,) = json.loads(capsys.readouterr().out)["vms"]
    assert [point["point"] for point in vm["points"]] == [chain.points[3]]
    assert copies(chain).whole() == {chain.points[3]}


def test_a_repository_that_the_site_does_not_name_is_a_sentence(site: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert copy(site, "--to", "ofsite") == 2
    assert "has no repository 'ofsite'; did you mean 'offsite'?" in capsys.readouterr().err


def test_compressed_copies_stand_on_one_another_and_a_flattened_one_on_none(site: Path, chain: Chain) -> None:
    chain.add({2000: 3}, {2000: ((3 * MiB, 4096, 5),)}, at=FIRST + timedelta(days=31))
    form = ("--set", "compress=zstd", "--set", "flatten=monthly")
    assert run(site, *form) == 0
    there = copies(chain)
    assert there.whole() == set(chain.points)
    infos = [img.info(HOST, str(there.image(number))) for number in range(5)]
    assert [one.cluster_size for one in infos] == [MiB] * 5
    expected = [layout.backing(chain.points[number], 2000) for number in range(3)]
    assert [one.backing_file for one in infos] == [None, *expected, None]
    assert [manifest_of(there.path(number)).disks[0].parent for number in (3, 4)] == [chain.points[2], None]
    told = subprocess.run(["qemu-img", "info", there.image(1)], capture_output=True, text=True, check=True).stdout
    assert "compression type: zstd" in told
    assert not list(there.directory.rglob(f"*{layout.REBUILT}"))


@pytest.mark.parametrize("form", ["compress=zstd", "flatten=daily"])
def test_one_that_was_killed_once_its_image_was_written_anew_reads_nothing_again(
    site: Path, chain: Chain, form: str
) -> None:
    """It cannot: the original has changed."""
    for number in (2, 3):
        shutil.rmtree(chain.path(number))
    argv = ("run", f"--state={site.with_name('state')}", str(site.with_name("copy.yaml")), "--set", form)
    code = f"""if True:
        import os
        from steps.copies import disk
        repack = disk.repack
        def dying(ctx, host, images, **options):
            repack(ctx, host, images, **options)
            if len(images) == 2:
                os._exit(9)
        disk.repack = dying
        from runner.cli import main
        main({argv!r})
    """
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).returncode == 9
    assert copies(chain).whole() == {chain.points[0]}
    original = chain.image(1).read_bytes()
    qemu("qemu-io", "-f", "qcow2", "-c", f"write -P 99 {MiB} 4096", str(chain.image(1)))
    assert run(site, "--set", form) == 0
    chain.image(1).write_bytes(original)
    assert copies(chain).whole() == set(chain.points[:2])


def test_a_flattened_copy_is_one_without_compression_too(site: Path, chain: Chain) -> None:
    chain.add({2000: 3}, {2000: ((3 * MiB, 4096, 5),)}, at=FIRST + timedelta(days=31))
    assert copy(site, "--to", "offsite", "--flatten", "monthly") == 0
    there = copies(chain)
    assert there.whole() == set(chain.points)
    assert [manifest_of(there.path(number)).disks[0].parent is None for number in range(5)] == [
        True,
        False,
        False,
        False,
        True,
    ]


@pytest.fixture
def read_only(site: Path, chain: Chain) -> Iterator[Path]:
    """The first repository as its host shows it to the account of the second."""
    shown = chain.root.with_name("shown")
    shown.mkdir()
    mounted = subprocess.run(
        ["mount", "--bind", "-o", "ro", str(chain.root), str(shown)], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("nobody but root mounts")
    site.write_text(site.read_text().replace(f"path: {chain.root}}}", f"path: {shown}}}"))
    yield shown
    subprocess.run(["umount", str(shown)], check=True)


@pytest.mark.usefixtures("read_only")
def test_a_source_that_cannot_be_written_to_is_enough(site: Path, chain: Chain) -> None:
    assert run(site) == 0
    assert copies(chain).whole() == set(chain.points)
