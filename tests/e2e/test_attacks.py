"""Somebody has the runner's key, or root of the repository host: whatever is done to points or to the log, something tells of it.
What the page says without this program is typed here as it stands there."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import blake3
import pytest
import yaml

from runner.base.sealed import seal
from runner.base.units import DAY, HOUR, MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.lock import told
from steps.repository import layout, marker, verification_records
from steps.repository.verification_records import DiskVerified, Verification
from steps.trail import reading, witness
from steps.trail.witness import Witnessed
from tests.estate import VM, Estate, disk, estate, inventory, machine, read, restored
from tests.locked_repository import UID, LockedRepository, call, mounted
from tests.locked_repository import VM as LOCKED_VM
from tests.pages import PAGES, Block, blocks, commands

SIZE = 3 * MiB
(PAGE,) = (page for page in PAGES if page.stem == "attacked")


def typed_for(word: str) -> Block:
    return next(block for block in blocks(PAGE) if block.kind == "sh" and word in block.text)


(BACK, _) = (block for block in blocks(PAGE) if block.kind == "text")
WORDS = ("log.jsonl", ">points.txt", "backing file:", "<points.txt", "digests.txt")
CHAIN, NAMES, BACKING, DISKS, CONTENT = map(typed_for, WORDS)


@dataclass
class Attacked:
    """A repository of three points. `disks`: what was backed up, by point."""

    estate: Estate
    disks: dict[str, bytes] = field(default_factory=dict)
    _made: list[Path] = field(default_factory=list)

    @property
    def repository(self) -> Path:
        return self.estate.repository()

    @property
    def log(self) -> Path:
        return self.repository / "log.jsonl"

    @property
    def witness(self) -> Path:
        """What is kept of the points elsewhere."""
        return self.estate.directory / "witness.jsonl"

    @property
    def points(self) -> list[Path]:
        """Those that are there, oldest first: two of one second have names in any order."""
        return [point for point in self._made if point.exists()]

    def night(self, job: Path, seed: int) -> None:
        self.estate.vcenter.write(VM, 2000, seed % 3 * MiB, random.Random(seed).randbytes(64 << 10))
        point = self.estate.backup(job)
        self._made.append(point)
        self.keep(point)
        self.disks[point.name] = self.estate.vcenter.read(VM, 2000, 0, SIZE)

    def keep(self, point: Path) -> None:
        """As `run --witness` does."""
        made, here = read(point), LocalHost()
        kept = Witnessed(
            repository=marker.require(here, str(self.repository)).uuid,
            vm=point.parent.name,
            point=made.point,
            published=made.published,
            digest=witness.digest(made),
            log=reading.read(here, str(self.repository)).head,
        )
        with self.witness.open("a") as file:
            file.write(kept.model_dump_json() + "\n")

    def tellers(self) -> set[str]:
        asked = {"verify": self.is_verified, "witness": self.is_as_witnessed, "log": self.is_as_logged}
        return {name for name, well in asked.items() if not well()}

    def is_verified(self) -> bool:
        return self.ends_well("verify", "--all", "--state", tempfile.mkdtemp(dir=self.estate.directory))

    def is_as_witnessed(self) -> bool:
        return self.ends_well("verify", "--witness", str(self.witness))

    def is_as_logged(self) -> bool:
        """By the program, and where it is not one chain, by the page's own line too."""
        said = self.ends_well("log")
        return self.is_typed(CHAIN) and said

    def ends_well(self, command: str, *words: str) -> bool:
        with pytest.raises(SystemExit) as left:
            main([command, str(self.estate.directory / "site.yaml"), *words])
        return not left.value.code

    def is_done(self, line: str) -> bool:
        """A line of the page, in this process: with the site's and the job's files, and what is witnessed of its points."""
        files = {name: str(self.estate.directory / name) for name in ("site.yaml", "nightly.yaml", "witness.jsonl")}
        _, *words = (files.get(word, word) for word in line.split())
        with pytest.raises(SystemExit) as left:
            main([*words, *(("--state", self.fresh()) if words[0] in ("copy", "run") else ())])
        return not left.value.code

    def fresh(self) -> str:
        return tempfile.mkdtemp(dir=self.estate.directory)

    def is_typed(self, block: Block, where: Path | None = None) -> bool:
        """Whether all of it ends well."""
        here = {"/backup/repository": str(self.repository), "/restore": str(self.estate.directory / "restored")}
        done = []
        for command in commands(block):
            line = command.line
            for name, place in here.items():
                line = line.replace(name, place)
            done.append(subprocess.run(["sh", "-c", line], cwd=where or self.estate.directory, check=False, timeout=60))
        return all(one.returncode == 0 for one in done)


@pytest.fixture(scope="module")
def before(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Attacked]:
    directory = tmp_path_factory.mktemp("attacked")
    vm = machine(disk(2000, f"{SIZE} B", content={"pattern": 1}))
    with estate(directory, {"prod": inventory(vm)}) as made:
        attacked = Attacked(made)
        for seed in range(3):
            attacked.night(made.job(cbt="enable"), seed)
        yield attacked


@pytest.fixture
def attacked(before: Attacked, tmp_path: Path) -> Iterator[Attacked]:
    """As it was before the attack, and again after the test."""
    kept = tmp_path / "kept"
    shutil.copytree(before.repository, kept, symlinks=True)
    yield before
    shutil.rmtree(before.repository)
    shutil.copytree(kept, before.repository, symlinks=True)


def write(point: Path) -> None:
    """Into its image, by any program that can."""
    argv = ["qemu-io", "-f", "qcow2", "-c", "write -P 0xee 1M 64k", str(point / "disk-2000.qcow2")]
    subprocess.run(argv, check=True, capture_output=True, timeout=60)


def rewrite(point: Path) -> None:
    """Image, digests and manifest alike: all of the point fits together again."""
    write(point)
    raw = point.parent / "raw"
    argv = ["qemu-img", "convert", "-f", "qcow2", "-O", "raw", str(point / "disk-2000.qcow2"), str(raw)]
    subprocess.run(argv, check=True, timeout=60)
    content = raw.read_bytes()
    raw.unlink()
    parts = [content[at : at + MiB] for at in range(0, len(content), MiB)]
    digests = b"".join(blake3.blake3(part).digest() if any(part) else bytes(32) for part in parts)
    (point / "disk-2000.blake3").write_bytes(digests)
    (only,) = read(point).to_json_value()["disks"]  # type: ignore[misc]
    forge(point, {"disks": [{**only, "digest": blake3.blake3(digests).hexdigest()}]})


def forge(point: Path, changes: dict[str, Any]) -> None:
    """Its manifest says something else, and has the checksum of that."""
    (point / "manifest.json").write_bytes(seal({**read(point).to_json_value(), **changes}))


def declare_verified(point: Path) -> None:
    """For ever, though it is not."""
    write(point)
    whole = DiskVerified(key=2000, at=datetime(2199, 1, 1, tzinfo=UTC), level="chain", blocks=3, compared=3)
    verification_records.write(LocalHost(), str(point), Verification(disks=(whole,)))


def rename(path: Path, name: str) -> None:
    path.rename(path.with_name(name))


def write_through_a_hard_link(point: Path) -> None:
    elsewhere = point.parent / "elsewhere"
    os.link(point / "disk-2000.qcow2", elsewhere)
    with elsewhere.open("r+b") as file:
        file.seek(-(64 << 10), os.SEEK_END)
        file.write(bytes([0xEE]) * (64 << 10))


def lead_elsewhere(point: Path) -> None:
    """A symlink in the image's place, to one of the attacker's."""
    image = point / "disk-2000.qcow2"
    image.unlink()
    image.symlink_to("/etc/passwd")


def exchange(one: Path, other: Path) -> None:
    one.rename(one.parent / "between")
    other.rename(one)
    (one.parent / "between").rename(other)


def add(newest: Path) -> None:
    """A point that no run made."""
    made = newest.parent / "20991231T000000Z-beef"
    shutil.copytree(newest, made)
    forge(made, {"point": made.name})


ON_POINTS: dict[str, tuple[Callable[[list[Path]], object], str]] = {
    "the oldest point is deleted": (lambda points: shutil.rmtree(points[0]), "verify witness log"),
    "the newest point is deleted": (lambda points: shutil.rmtree(points[-1]), "witness log"),
    "all points are deleted": (lambda points: [shutil.rmtree(point) for point in points], "verify witness log"),
    "an image is truncated": (lambda points: os.truncate(points[1] / "disk-2000.qcow2", 70_000), "verify"),
    "an image is written to": (lambda points: write(points[-1]), "verify"),
    "an image is written to by a hard link": (lambda points: write_through_a_hard_link(points[1]), "verify"),
    "an image leads elsewhere": (lambda points: lead_elsewhere(points[-1]), "verify"),
    "a point is renamed": (lambda points: rename(points[-1], "20261123T170000Z-beef"), "verify witness log"),
    "two points are exchanged": (lambda points: exchange(points[1], points[2]), "verify witness"),
    "the VM's directory is replaced": (lambda points: rename(points[0].parent, "vm"), "verify witness log"),
    "a manifest asks for another date": (
        lambda points: forge(points[-1], {"published": "2001-01-01T00:00:00Z"}),
        "witness",
    ),
    "a point is added": (lambda points: add(points[-1]), "witness log"),
    "a point is rewritten whole": (lambda points: rewrite(points[-1]), "witness"),
    "rot is declared to be verified": (lambda points: declare_verified(points[-1]), "verify"),
    "a point has the last number that there is": (
        lambda points: forge(points[-1], {"sequence": 2**63 - 1}),
        "verify witness",
    ),
}
"""What is done, and which of the three tell of it. That a VM is encrypted in between the brake tells: test_brake.py."""


@pytest.mark.parametrize(("attack", "tell"), ON_POINTS.values(), ids=ON_POINTS)
def test_what_is_done_to_points_is_told(attacked: Attacked, attack: Callable[[list[Path]], object], tell: str) -> None:
    attack(attacked.points)
    assert attacked.tellers() == set(tell.split())


def chain(lines: list[str]) -> str:
    """Each with the digest of the one before."""
    made, digest = "", ""
    for line in lines:
        said = json.dumps({**json.loads(line), "prev": digest}, separators=(",", ":"))
        digest = subprocess.run(["sha256sum"], input=f"{said}\n", capture_output=True, text=True, check=True).stdout[
            :64
        ]
        made += f"{said}\n"
    return made


ON_LOG: dict[str, Callable[[list[str]], str]] = {
    "a line is gone": lambda lines: "\n".join([lines[0], *lines[2:], ""]),
    "a line says something else": lambda lines: "\n".join(
        [lines[0].replace('"act":"publish"', '"act":"verify"'), *lines[1:], ""]
    ),
    "its end is cut off": lambda lines: "\n".join([*lines[:-1], ""]),
    "it is chained anew without its end": lambda lines: chain(lines[:-1]),
    "it is empty": lambda lines: "",
}


@pytest.mark.parametrize("attack", ON_LOG.values(), ids=ON_LOG)
def test_what_is_done_to_the_log_is_told(attacked: Attacked, attack: Callable[[list[str]], str]) -> None:
    lines = attacked.log.read_text().splitlines()
    attacked.log.write_text(attack(lines))
    assert attacked.tellers() == {"witness", "log"}


@pytest.fixture
def locked(tmp_path: Path) -> Iterator[LockedRepository]:
    """With a locked point."""
    if os.geteuid() != 0:
        pytest.skip("only root mounts file systems and makes files immutable")
    with mounted("ext4") as top:
        made = LockedRepository.create(top, tmp_path)
        made.wall = time.time()
        made.point(0)
        made.run()
        yield made


def stop_the_timer(locked: LockedRepository) -> None:
    locked.wall -= 2 * HOUR
    locked.run()


def delete_what_is_locked(locked: LockedRepository) -> None:
    """As root."""
    (point,) = (locked.root / LOCKED_VM).glob("2*")
    call("chattr", "-R", "-i", point)
    shutil.rmtree(point)
    locked.run()


def mount_over_a_vm(locked: LockedRepository) -> None:
    call("mount", "-t", "tmpfs", "none", locked.root / LOCKED_VM)
    locked.run()
    call("umount", locked.root / LOCKED_VM)


def set_the_clock(locked: LockedRepository) -> None:
    locked.wall += 3650 * DAY
    locked.run()


def tell_instead_of_the_timer(locked: LockedRepository) -> None:
    os.chown(locked.root / layout.LOCK_TIMER, UID, UID)


ON_LOCK: dict[str, tuple[Callable[[LockedRepository], object], str]] = {
    "the timer is stopped": (stop_the_timer, "ran last 2 h"),
    "a locked point is deleted by root": (delete_what_is_locked, "was locked and is not there any more"),
    "a VM's directory is mounted over": (mount_over_a_vm, "nothing in it is locked"),
    "the repository host's clock is set ahead": (set_the_clock, "has not reached"),
    "the account says that all is locked": (tell_instead_of_the_timer, "is not root's"),
    "the lock is made shorter": (lambda locked: locked.run(lock=DAY), "locks its points for 1 d"),
}
"""What is done, and what the doctor says of it."""


@pytest.mark.parametrize(("attack", "says"), ON_LOCK.values(), ids=ON_LOCK)
def test_what_is_done_to_the_lock_the_doctor_tells(
    locked: LockedRepository, attack: Callable[[LockedRepository], object], says: str
) -> None:
    attack(locked)
    found = told.examine(LocalHost(), "main", str(locked.root), 30 * DAY)
    assert any(one.state == "wrong" and says in one.found for one in found)


def test_a_lost_repository_comes_back_from_the_second_and_backups_go_on_as_incrementals(attacked: Attacked) -> None:
    """By the lines of the page. That its nights stay known to the witness is seen too."""
    where, here = attacked.estate.directory, LocalHost()
    site = where / "site.yaml"
    before = site.read_text()
    marker.init(here, str(where / "offsite"))
    document = yaml.safe_load(before)
    document["repositories"]["offsite"] = {"host": "local", "path": str(where / "offsite")}
    site.write_text(yaml.safe_dump(document))
    newest = attacked.points[-1].name
    try:
        assert attacked.ends_well("copy", "latest", "--repository=main", "--to=offsite")
        shutil.rmtree(attacked.repository)
        attacked.repository.mkdir()
        for line in BACK.text.splitlines():
            assert attacked.is_done(line), line
        (made,) = {path.name for path in attacked.repository.glob("*/2*Z-????")} - {newest}
        (point,) = attacked.repository.glob(f"*/{made}")
        assert read(point).kind == "incremental"
        assert restored(point, 2000, where / "raw") == attacked.estate.vcenter.read(VM, 2000, 0, SIZE)
        assert attacked.ends_well("copy", "--repository=main", "--to=offsite")
        assert {path.name for path in (where / "offsite").glob("*/2*Z-????")} == {newest, made}
    finally:
        site.write_text(before)


def test_nothing_is_told_where_nothing_was_done_and_all_comes_back_by_qemu_img_alone(attacked: Attacked) -> None:
    assert not attacked.tellers()
    assert attacked.is_typed(NAMES) and attacked.is_typed(BACKING) and attacked.is_typed(DISKS)
    (restored,) = (attacked.estate.directory / "restored").glob("*.raw")
    newest = attacked.points[-1]
    assert restored.read_bytes() == attacked.disks[newest.name]
    assert attacked.is_typed(CONTENT, newest)
    write(newest)
    assert not attacked.is_typed(CONTENT, newest)
    rebase = ("qemu-img", "rebase", "-u", "-f", "qcow2", "-F", "raw", "-b", "/etc/passwd")
    call(*rebase, newest / layout.image(2000))
    assert not attacked.is_typed(BACKING)
