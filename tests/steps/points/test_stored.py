"""What a point's images say of each other is believed only as far as the manifests say it too."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.base.errors import SendenseError, StateError
from runner.base.units import MiB
from runner.hosts.local import LocalHost
from steps.points import stored
from steps.points.stored import ChainError, DigestsDamagedError, NoSuchDiskError
from steps.repository import layout, manifest, verification_records
from steps.repository.verification_records import Suspicion
from steps.values.stored_point import StoredPoint
from tests.chains import Reference, full, incremental, manifest_of, qemu
from tests.hub import CREATED, Hub, disk, hub_on
from tests.marks import marks

DISKS = (disk(2000, 4 * MiB), disk(2001, 2 * MiB))
IMAGE = layout.image(2000)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[Reference]]:
    """A repository, and the points of a chain in it, oldest first."""
    directory = tmp_path_factory.mktemp("made")
    with hub_on(LocalHost("hub"), str(directory / "repository"), directory) as hub:
        first = full(hub, directory / "references", *DISKS)
        second = incremental(first, directory / "references", seed=1)
        return directory / "repository", [first, second, incremental(second, directory / "references", seed=2)]


@pytest.fixture
def chain(hub: Hub, made: tuple[Path, list[Reference]]) -> list[Reference]:
    """The same in the hub's repository."""
    repository, points = made
    shutil.copytree(repository, hub.root, dirs_exist_ok=True)
    return [Reference(hub.root / one.point.relative_to(repository), one.disks) for one in points]


def read(hub: Hub, point: Path, *keys: int) -> StoredPoint:
    return stored.read(hub.host, hub.root, str(point), keys)


def test_each_disk_is_read_from_the_images_that_the_manifests_name(hub: Hub, chain: list[Reference]):
    found = read(hub, chain[2].point)
    assert [one.key for one in found.disks] == [2000, 2001]
    for one in found.disks:
        assert one.image.images == tuple(str(on.point / layout.image(one.key)) for on in reversed(chain))


def test_only_the_disks_that_are_wanted(hub: Hub, chain: list[Reference]):
    assert [one.key for one in read(hub, chain[2].point, 2001).disks] == [2001]
    with pytest.raises(NoSuchDiskError, match="has no disk 2002; it has 2000, 2001"):
        read(hub, chain[2].point, 2002)


def on(backing: str, *, form: str = "qcow2") -> Callable[[list[Reference]], None]:
    """An image that is backed by something else, without a look at that."""

    def harm(chain: list[Reference]) -> None:
        image = chain[2].point / IMAGE
        image.unlink()
        qemu("qemu-img", "create", "-q", "-u", "-f", "qcow2", "-b", backing, "-F", form, image, str(4 * MiB))

    return harm


def through_a_link(chain: list[Reference]) -> None:
    image = chain[1].point / IMAGE
    image.rename(chain[0].point.parent.parent.parent / "elsewhere")
    image.symlink_to(chain[0].point.parent.parent.parent / "elsewhere")


def without_its_format(chain: list[Reference]) -> None:
    image = chain[2].point / IMAGE
    content = bytearray(image.read_bytes())
    at = content.index(b"\xe2\x79\x2a\xca")  # the header extension that names the backing file's format
    content[at : at + 4] = b"\0\0\0\7"
    image.write_bytes(content)


def with_its_data_elsewhere(chain: list[Reference]) -> None:
    image = chain[0].point / IMAGE
    image.unlink()
    outside = chain[0].point.parent / "data"
    qemu("qemu-img", "create", "-q", "-f", "qcow2", "-o", f"data_file={outside}", image, str(4 * MiB))


def gone(chain: list[Reference]) -> None:
    (chain[0].point / IMAGE).unlink()


def without_the_point_below(chain: list[Reference]) -> None:
    chain[1].point.rename(chain[1].point.with_name("20200101T000000Z-dead"))


def going_round(chain: list[Reference]) -> None:
    made = manifest_of(chain[0].point)
    disks = tuple(one.model_copy(update={"parent": chain[2].point.name}) for one in made.disks)
    (chain[0].point / layout.MANIFEST).write_bytes(manifest.dump(made.model_copy(update={"disks": disks})))


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        pytest.param(on("/etc/passwd", form="raw"), "is backed by /etc/passwd, but by", id="a file of the host"),
        pytest.param(
            on("../../../../../etc/passwd"), "is backed by ../../../../../etc/passwd", id="out of the repository"
        ),
        pytest.param(on(f"../20261123T170003Z-3f9a/{IMAGE}"), "but by 20261123T18", id="another point than its parent"),
        pytest.param(on("nbd://127.0.0.1:9/x"), "is backed by nbd:", id="a server"),
        pytest.param(on('json:{"driver":"null-co"}'), "is backed by json:", id="a description"),
        pytest.param(through_a_link, "leads to", id="a symlink"),
        pytest.param(without_its_format, "does not say that its backing file is qcow2", id="a format to be guessed"),
        pytest.param(with_its_data_elsewhere, "keeps its data in another file", id="an external data file"),
        pytest.param(gone, "is gone, or not a regular file", id="a missing image"),
        pytest.param(without_the_point_below, "is gone or has no such disk", id="a missing point"),
        pytest.param(going_round, "has a cycle", id="a chain that has a cycle"),
    ],
)
def test_a_chain_is_refused_that_leads_to(
    hub: Hub, chain: list[Reference], harm: Callable[[list[Reference]], None], said: str
):
    harm(chain)
    with pytest.raises(ChainError, match="disk 2000 of ") as refused:
        read(hub, chain[2].point)
    assert said in refused.value.message
    assert "\n" not in refused.value.message


NO_FILES: dict[str, Callable[[Path], object]] = {
    "a FIFO": os.mkfifo,
    "a link to zeroes without end": lambda path: path.symlink_to("/dev/zero"),
    "a directory": Path.mkdir,
    "8 GiB of nothing": lambda path: path.touch() or os.truncate(path, 8 << 30),
}


@pytest.mark.parametrize("put", NO_FILES.values(), ids=NO_FILES)
@pytest.mark.parametrize("name", [layout.MANIFEST, layout.digests(2000), IMAGE, layout.MOVING, "suspect.json"])
def test_what_is_no_file_of_its_kind_is_one_sentence(
    hub: Hub, made: tuple[Path, list[Reference]], tmp_path: Path, name: str, put: Callable[[Path], object]
):
    repository, points = made
    shutil.copytree(repository, hub.root, dirs_exist_ok=True)
    point = hub.root / points[1].point.relative_to(repository)
    (point / name).unlink(missing_ok=True)
    put(point / name)
    if name == layout.MOVING:  # where it is asked for
        on("elsewhere.qcow2")([Reference(point, {})] * 3)
    with pytest.raises((SendenseError, StateError), match=name) as told:
        found = read(hub, point)
        if name == "suspect.json":
            raise StateError(" ".join(found.notes))
        stored.receive_digests(hub.host, found.disks[0], tmp_path / "digests")
    assert "\n" not in str(told.value)


def test_a_repository_behind_a_link_is_still_one(hub: Hub, chain: list[Reference], tmp_path: Path):
    (tmp_path / "mount").symlink_to(hub.root)
    point = Path(str(chain[2].point).replace(hub.root, str(tmp_path / "mount")))
    assert stored.read(hub.host, str(tmp_path / "mount"), str(point)).disks[0].image.path == str(point / IMAGE)


def test_what_became_known_against_a_point_is_said(hub: Hub, chain: list[Reference]):
    why = Suspicion(key=2000, why="changed block tracking was caught lying", run="r", at=CREATED)
    verification_records.suspect(hub.host, str(chain[1].point), why)
    assert read(hub, chain[1].point).notes == ("Disk 2000 is suspect: changed block tracking was caught lying.",)
    rotten = verification_records.DiskVerified(
        key=2000, at=CREATED, level="chain", blocks=4, compared=4, different=(0,)
    )
    verification_records.write(hub.host, str(chain[1].point), verification_records.Verification(disks=(rotten,)))
    misread = verification_records.DiskCompared(key=2000, at=CREATED, blocks=4, compared=4, changed=0, different=(0,))
    verification_records.write(hub.host, str(chain[1].point), verification_records.Comparison(disks=(misread,)))
    assert read(hub, chain[1].point).notes[1:] == (
        f"It failed verification at rest at {CREATED:%Y-%m-%d %H:%M} UTC.",
        f"It differed from the VM when compared at {CREATED:%Y-%m-%d %H:%M} UTC.",
    )
    (marks(chain[1].point) / verification_records.SUSPECT).write_bytes(b"{")
    assert "suspect.json on hub is damaged" in read(hub, chain[1].point).notes[0]


def test_disks_that_are_not_in_a_point_are_said_before_it_is_restored(hub: Hub, chain: list[Reference], tmp_path: Path):
    point = chain[0].point
    missing = "Disk 2017 (Hard disk 9, independent) is not in this point."
    noted = manifest_of(point).model_copy(update={"notes": (missing,)})
    (point / layout.MANIFEST).write_bytes(manifest.dump(noted))
    assert read(hub, point).notes == (missing,)


def test_digests_that_are_not_those_of_the_manifest_prove_nothing(hub: Hub, chain: list[Reference], tmp_path: Path):
    wanted = read(hub, chain[2].point).disks[0]
    stored.receive_digests(hub.host, wanted, tmp_path / "digests").close()
    file = Path(wanted.digests)
    file.write_bytes(bytes(len(file.read_bytes())))
    with pytest.raises(DigestsDamagedError, match="not those that its manifest names"):
        stored.receive_digests(hub.host, wanted, tmp_path / "digests")
    file.unlink()
    with pytest.raises(DigestsDamagedError, match="the file is gone"):
        stored.receive_digests(hub.host, wanted, tmp_path / "digests")
