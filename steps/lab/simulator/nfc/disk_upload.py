"""One disk that comes in as a stream: into its sparse file, grain by grain."""

from __future__ import annotations

from collections.abc import Iterator

from steps.lab.simulator.nfc.lease import Lease
from steps.lab.simulator.nfc.stream_format import SECTOR
from steps.lab.simulator.nfc.stream_reader import Incoming, StreamRefused, read_grains, read_header
from steps.lab.simulator.nfc.target import Moved, Target
from steps.lab.simulator.objects import World
from steps.lab.simulator.rawfile import RawFile
from steps.lab.simulator.vmodl import fault, vim


class DiskUpload:
    def __init__(self, world: World, lease: Lease, target: Target) -> None:
        assert target.disk is not None and lease.machine is not None
        self._world = world
        self._lease = lease
        self._target = target
        self._disk = target.disk
        self._machine = lease.machine
        self._store = self._machine.datastore_of(self._disk)

    def receive(self, chunks: Iterator[bytes]) -> None:
        """Raises StreamRefused, Ended. A disk that came in before is replaced: that an upload may be repeated
        as long as the lease lasts is assumed."""
        incoming = Incoming(chunks, self._target.algorithm)
        header = read_header(incoming)
        with self._opened(header.capacity * SECTOR) as raw:
            wrong = self._world.faults.take("upload-wrong")
            full = self._world.faults.take("upload-no-space")
            for offset, grain in read_grains(incoming, header):
                self._target.written += len(grain)
                if self._is_full() or (full and self._target.written > full["after"]):
                    self._no_space()
                if wrong is None:
                    raw.write(offset, grain)
                elif wrong["kind"] == "changed":
                    raw.write(offset, bytes([grain[0] ^ 0xFF]) + grain[1:])
            for _ in incoming.rest():
                pass
        self._note(incoming, wrong["kind"] if wrong else "")

    def _opened(self, capacity: int) -> RawFile:
        """The disk's file, empty. Its capacity is the stream's, whatever the spec said (Cinder sends a dummy
        of 1 MiB)."""
        with self._world.lock:
            self._lease.note(0)
            self._target.moved, self._target.written = None, 0
            self._lease.room.setdefault(self._store.name, self._store.free)
            self._disk.empty(capacity)
            self._machine.touch()
            return self._disk.top.raw.duplicate()

    def _is_full(self) -> bool:
        """Of what was free when the lease's first disk for that datastore came in."""
        written = sum(
            one.written
            for one in self._lease.targets
            if one.disk is not None and self._machine.datastore_of(one.disk) is self._store
        )
        return written > self._lease.room[self._store.name]

    def _no_space(self) -> None:
        """What the API says of it is in the lease; the text over HTTPS is assumed."""
        name = f"[{self._store.name}] {self._machine.stem}/{self._disk.descriptor.name}"
        text = f"There is not enough space on the datastore {self._store.name}."
        with self._world.lock:
            self._lease.end(fault(vim.fault.NoDiskSpace, text, file=name, datastore=self._store.name))
        raise StreamRefused(text)

    def _note(self, incoming: Incoming, wrong: str) -> None:
        """What the manifest says of it, which is what this side has: wrong by a byte or short of a grain."""
        if wrong:
            incoming.note(b"\0")
            incoming.size -= 1 if wrong == "changed" else 1 + SECTOR
        sizes = self._target.sizes()
        self._target.moved = Moved(incoming.size, incoming.algorithm, incoming.checksum, *sizes)
