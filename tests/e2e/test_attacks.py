"""Somebody has the runner's key, or root of the repository host: whatever is done to points or to the log, something tells of it.
What the page says without this program is typed here as it stands there."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import blake3
import pytest

from runner.base.units import MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import manifest, marker
from steps.repository.manifest import Manifest
from steps.trail import reading, witness
from steps.trail.witness import Witnessed
from tests.estate import VM, Estate, disk, estate, inventory, machine, read
from tests.pages import PAGES, Block, blocks, commands

SIZE = 3 * MiB
(PAGE,) = (page for page in PAGES if page.stem == "attacked")


def typed_for(word: str) -> Block:
    return next(block for block in blocks(PAGE) if block.kind == "sh" and word in block.text)


CHAIN, NAMES, DISKS, CONTENT = map(typed_for, ("log.jsonl", ">points.txt", "<points.txt", "digests.txt"))


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
    said = Manifest.from_json_value({**read(point).to_json_value(), **changes})
    (point / "manifest.json").write_bytes(manifest.dump(said))


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
}
"""What is done, and which of the three tell of it."""


@pytest.mark.parametrize(("attack", "told"), ON_POINTS.values(), ids=ON_POINTS)
def test_what_is_done_to_points_is_told(attacked: Attacked, attack: Callable[[list[Path]], object], told: str) -> None:
    attack(attacked.points)
    assert attacked.tellers() == set(told.split())


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


def test_nothing_is_told_where_nothing_was_done_and_all_comes_back_by_qemu_img_alone(attacked: Attacked) -> None:
    assert not attacked.tellers()
    assert attacked.is_typed(NAMES) and attacked.is_typed(DISKS)
    (restored,) = (attacked.estate.directory / "restored").glob("*.raw")
    newest = attacked.points[-1]
    assert restored.read_bytes() == attacked.disks[newest.name]
    assert attacked.is_typed(CONTENT, newest)
    write(newest)
    assert not attacked.is_typed(CONTENT, newest)
