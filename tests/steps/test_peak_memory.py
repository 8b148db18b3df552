"""What holds a few blocks of a disk at a time holds no more of 62 TiB of it, or of what is in them.

Each kind of work is done by a process of its own, whose peak is its VmHWM: ru_maxrss of a new process starts with that
of the process that started it.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB, TiB
from runner.hosts.local import LocalHost
from steps.copy.differences import differences
from steps.copy.digests import Digests, digest_of
from steps.copy.engine import copy
from steps.copy.nbd_endpoint import NbdEndpoint
from steps.incremental import increment
from steps.incremental.increment import Increment
from steps.qemu.nodes import Nodes
from steps.readback.comparison import ImageReader
from steps.readback.image import ImageAtRest
from steps.repository.manifest import LastFull
from steps.repository.parent import Parent
from steps.restore.disk_stream import write_stream
from steps.restore.restore_disk import RestoreDisk, RestoreDiskIn, RestoreDiskLive
from steps.stream.layout import GRAIN
from steps.stream.reader import StreamReader
from steps.values.base import Base
from steps.values.image import Image
from steps.values.serving import Serving
from steps.values.stored_point import DiskImage, StoredDisk
from steps.values.target import Target
from tests.hub import CREATED, disk, hub_on
from tests.nbd_servers import Server, Servers, qcow2

pytestmark = pytest.mark.slow

SIZE = 62 * TiB
BLOCKS = range(7 * MiB, SIZE, SIZE // 256 // MiB * MiB)
"""Offsets of those with content: more than may be held, too."""

AT_MOST = 200 * MiB


@dataclass(frozen=True)
class Sparse:
    directory: Path

    @property
    def image(self) -> Path:
        return self.directory / "disk.qcow2"

    def digests(self) -> Digests:
        return Digests(self.directory / "digests", SIZE, 0)


@pytest.fixture(scope="module")
def sparse(tmp_path_factory: pytest.TempPathFactory) -> Sparse:
    made = Sparse(tmp_path_factory.mktemp("sparse"))
    writes = [word for block in BLOCKS for word in ("-c", f"write -P 7 {block} 1M")]
    argv = ("qemu-io", "-f", "qcow2", *writes, str(qcow2(made.image, SIZE)))
    subprocess.run(argv, check=True, timeout=120, capture_output=True)
    with Digests.create(made.directory / "digests", SIZE) as digests:
        for block in BLOCKS:
            digests.put(block, digest_of(b"\7" * MiB))
    return made


def compared_over_the_wire(sparse: Sparse, scratch: Path) -> None:
    with Servers() as servers, sparse.digests() as digests:
        server = servers.qemu_nbd(sparse.image, "qcow2", "--read-only")
        with NbdEndpoint([server.uri] * 2, "image") as image:
            found = differences(image, digests, stop=threading.Event(), most=100)
    assert (found.blocks, found.compared) == ((), SIZE // MiB)


def read_back_by_its_host(sparse: Sparse, scratch: Path) -> None:
    with hub_on(LocalHost("hub"), str(scratch / "repository"), scratch) as hub, sparse.digests() as digests:
        path = str(sparse.image)
        image = ImageAtRest(2000, "image", path, Nodes((path,)), SIZE, "disk")
        context = hub.context()
        reader = ImageReader(context, context.host("hub"), image, digests, 100, lambda now: None)
        seen = reader.read_back(None, "host")
    assert (seen.by, seen.found.blocks, seen.found.compared) == ("host", (), SIZE // MiB)


def copied_onto_its_parent(sparse: Sparse, scratch: Path) -> None:
    """A piece of each block with content is written, where tracking says that it changed."""
    areas = [(block + 128 * KiB, 64 * KiB) for block in BLOCKS]
    # The vCenter's part: what it says is as long as what changed, whatever the size of the disk.
    increment.vcenter = lambda *_: None  # type: ignore[assignment]
    increment.cbt.areas = lambda *_: iter(areas)
    with sparse.digests() as digests:
        parent = Parent(
            point="parent",
            image=str(sparse.image),
            digests=str(digests.path),
            digest=digests.digest(),
            change_id="52 1f/3",
            level="full",
            last_full=LastFull(at=CREATED, points=1),
        )
    path = qcow2(scratch / "overlay.qcow2", SIZE, "-b", str(sparse.image), "-F", "qcow2")
    image = Image(
        disk=disk(2000, SIZE), repository="main", host="hub", directory=str(scratch), path=str(path), capacity=SIZE
    )
    base = Base(
        disk_key=2000,
        vcenter="prod",
        vm="vm-16",
        snapshot="snapshot-2",
        kind="incremental",
        by="cbt",
        reason="",
        parent=parent,
    )
    with (
        hub_on(LocalHost("hub"), str(scratch / "repository"), scratch) as hub,
        Servers() as servers,
        Increment.opened(hub.context(), base, image, "snapshot-2", None) as onto,
        NbdEndpoint([servers.qemu_nbd(sparse.image, "qcow2", "--read-only").uri] * 2, "source") as source,
        NbdEndpoint([servers.qemu_nbd(path, "qcow2").uri] * 2, "image") as target,
        Digests.create(scratch / "digests", SIZE) as digests,
    ):
        overlay, reading = onto.between(source, target)
        inherited = onto.inherit(digests, ())
        earlier = onto.earlier()
        stop = threading.Event()
        copy(source, overlay, digests, stop=stop, inherited=inherited, reading=reading, earlier=earlier)
        onto.check(digests)
        assert list(digests.data_blocks()) == list(BLOCKS)
        assert onto.written(digests) == [(block, MiB) for block in BLOCKS]


def restored(sparse: Sparse, scratch: Path) -> None:
    path = qcow2(scratch / "restored.qcow2", SIZE)
    with sparse.digests() as digests:
        stored = stored_disk(sparse, digests)
    target = Target(disk=stored, image=at(path), form="qcow2", final="", overwrite=False, replaces=None)
    with hub_on(LocalHost("hub"), str(scratch / "repository"), scratch) as hub, Servers() as servers:
        live = RestoreDiskLive(
            source=serving(stored.image, servers.qemu_nbd(sparse.image, "qcow2", "--read-only")),
            into=serving(target.image, servers.qemu_nbd(path, "qcow2")),
        )
        done = RestoreDisk().run(hub.context(), RestoreDiskIn(target=target), live)
    assert done.moved == len(BLOCKS) * MiB


def compressed_and_unpacked(sparse: Sparse, scratch: Path) -> None:
    """Into the stream that an import lease takes, and out of it again."""
    with sparse.digests() as digests:
        stored = stored_disk(sparse, digests)
    path = scratch / "disk.vmdk"
    with (
        hub_on(LocalHost("hub"), str(scratch / "repository"), scratch) as hub,
        Servers() as servers,
        path.open("wb") as file,
    ):
        source = serving(stored.image, servers.qemu_nbd(sparse.image, "qcow2", "--read-only"))
        assert write_stream(hub.context(), stored, source, file.write).blocks == SIZE // MiB
    with path.open("rb") as file:
        grains = [offset for offset, _ in StreamReader(file.read, "the stream").grains()]
    assert grains == [offset for block in BLOCKS for offset in range(block, block + MiB, GRAIN)]


def at(path: Path) -> DiskImage:
    return DiskImage(key=2000, capacity=SIZE, host="hub", images=(str(path),), export="disk")


def stored_disk(sparse: Sparse, digests: Digests) -> StoredDisk:
    return StoredDisk(
        key=2000,
        label="Hard disk 1",
        capacity=SIZE,
        backing_uuid="",
        data=len(BLOCKS) * MiB,
        point="point",
        image=at(sparse.image),
        digests=str(digests.path),
        digest=digests.digest(),
    )


def serving(image: DiskImage, server: Server) -> Serving:
    return Serving(image=image, there=server.uri, uris=(server.uri,) * 2, size=SIZE, read_only=False, cached=True)


MEASURED = """
import sys
from pathlib import Path
from tests.steps import test_peak_memory as these
getattr(these, sys.argv[1])(these.Sparse(Path(sys.argv[2])), Path(sys.argv[3]))
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""


@pytest.mark.parametrize(
    "work",
    [
        compared_over_the_wire,
        read_back_by_its_host,
        copied_onto_its_parent,
        pytest.param(restored, marks=pytest.mark.torture),
        compressed_and_unpacked,
    ],
    ids=lambda of: of.__name__,
)
def test_peak_memory_does_not_depend_on_the_disk(
    sparse: Sparse, tmp_path: Path, work: Callable[[Sparse, Path], None]
) -> None:
    argv = (sys.executable, "-c", MEASURED, work.__name__, str(sparse.directory), str(tmp_path))
    done = subprocess.run(argv, capture_output=True, text=True, timeout=200, check=False, cwd=Path(__file__).parents[2])
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) * KiB < AT_MOST
