"""A copy of a week of restore points loses its run, or what it stands on, at every kind of moment; the same command finishes
it, and what is recorded as copied is not read again."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from itertools import product
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.lab.sshd import Sshd
from steps.repository import layout
from tests.chain import Chain, qemu
from tests.faults.disks import SEED, TORTURE
from tests.faults.two_repositories import TwoRepositories, a_week
from tests.faults.victims import Zygote
from tests.hub import INSTANCE

NODE = f"copy[{layout.vm_directory('pgtest1', INSTANCE)}]"

RUN = ("runner", "group")
HOSTS = ("first", "second")

OF_A_POINT = (
    "doing mkdir RUN.partial",
    "did write_sparse disk-2000.blake3",
    "doing write config.json",
    "doing write manifest.json",
    "doing rename RUN.partial",
    "did rename RUN.partial",
)
"""The last one: it is not logged yet."""

OF_THE_RUN = ("done plan", f"intent {NODE}", f"acted {NODE}", f"done {NODE}")

INSIDE = (12, 50, 87, 120, 160, 212)
"""Percent of the disk: in the full, and in what incrementals add to it."""


def of_all() -> Iterator[tuple[str, str]]:
    yield from product((*RUN, *HOSTS), OF_THE_RUN)
    for number in range(1, 8):
        yield from (("runner", f"{moment}@{number}") for moment in OF_A_POINT)
    for number in (1, 4):
        yield from product(("group", *HOSTS), (f"{moment}@{number}" for moment in OF_A_POINT))
    yield from product((*RUN, *HOSTS, "qemu-nbd", "ssh"), (f"flushed 2000:{share}" for share in INSIDE))
    chance = random.Random(SEED)
    for _ in range(int(os.environ.get("TORTURE", "0")) // 2):
        yield chance.choice((*RUN, *HOSTS, "qemu-nbd", "ssh")), f"copied 2000:{chance.randrange(1, 220)}"


@pytest.fixture(scope="module")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Chain:
    return a_week(tmp_path_factory.mktemp("first") / "main")


@pytest.fixture(scope="module")
def hosts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Path, Path]]:
    directory = tmp_path_factory.mktemp("hosts")
    first, second = directory / "first", directory / "second"
    for path in (first, second):
        Sshd(path).start(detached=True)
    yield first, second
    for path in (first, second):
        Sshd(path).stop()


@pytest.fixture
def copying(chain: Chain, hosts: tuple[Path, Path], zygote: Zygote, tmp_path: Path) -> Iterator[TwoRepositories]:
    yield TwoRepositories(chain, *hosts, zygote, tmp_path)
    zygote.end()


@pytest.fixture
def packing(chain: Chain, hosts: tuple[Path, Path], zygote: Zygote, tmp_path: Path) -> Iterator[TwoRepositories]:
    yield TwoRepositories(chain, *hosts, zygote, tmp_path, {"compress": "zstd", "flatten": "weekly"})
    zygote.end()


def test_a_week_is_copied_though_its_run_is_killed_twice_and_then_its_host_is_lost(
    copying: TwoRepositories, chain: Chain
) -> None:
    """What was copied before a kill is not read again. It cannot be: it has changed there."""
    assert copying.kill("runner", "flushed 2000:50") == -9
    assert copying.copies.whole() == set()
    with changed(chain.image(0), copying.recorded(2000)):
        assert copying.kill("runner", "did rename RUN.partial") == -9
    assert copying.copies.whole() == {chain.points[0]}
    assert copying.kill("second", "flushed 2000:12") == 0, copying.said
    assert "pgtest1, 7 points" in copying.said, "those of the killed runs too"
    copying.assert_all_copied()


@contextmanager
def changed(image: Path, blocks: Collection[int]) -> Iterator[None]:
    assert len(blocks) >= 2
    shutil.copy(image, aside := image.with_suffix(".aside"))
    writes = [word for block in blocks for word in ("-c", f"write -P 99 {block * MiB} {MiB}")]
    qemu("qemu-io", "-f", "qcow2", *writes, str(image))
    try:
        yield
    finally:
        aside.replace(image)


@pytest.mark.parametrize(("what", "moment"), tuple(of_all()) if TORTURE else ())
def test_a_copy_is_finished_by_the_same_command(copying: TwoRepositories, what: str, moment: str) -> None:
    code = copying.kill(what, moment)
    if what not in RUN:
        assert code == 0, copying.said
    there = {name for name in copying.copies.whole() if not name.endswith(layout.PARTIAL)}
    assert there == set(copying.chain.points[: len(there)]), "the oldest first"
    copying.until_done(code)
    copying.assert_all_copied()


REBUILT = f"rename {layout.image(2000)}{layout.REBUILT}"

OF_A_FORM = tuple(
    (what, f"{moment}@{number}")
    for what, moment, number in product(
        (*RUN, "second"), ("did popen qemu-img convert", f"doing {REBUILT}", f"did {REBUILT}"), (1, 2)
    )
)
"""The first is compressed, the second made one without a backing file as well: it is of another week."""


@pytest.mark.parametrize(("what", "moment"), OF_A_FORM if TORTURE else ())
def test_copies_that_are_compressed_and_flattened_are_finished_by_the_same_command(
    packing: TwoRepositories, what: str, moment: str
) -> None:
    code = packing.kill(what, moment)
    if what not in RUN:
        assert code == 0, packing.said
    packing.until_done(code)
    packing.assert_all_copied()
