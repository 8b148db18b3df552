"""A virtual disk: a base file, and above it one delta for each snapshot not yet merged.

The guest sees the layers from the top down. A snapshot freezes the top layer; what the guest writes from then
on goes into a new delta ``NAME-000001.vmdk``, and removing the snapshot writes the delta into the layer below
it.
"""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Iterator
from pathlib import Path

from steps.lab.simulator.content import fill
from steps.lab.simulator.machine_spec import DiskSpec
from steps.lab.simulator.ranges import Ranges, aligned
from steps.lab.simulator.rawfile import CHUNK, RawFile, replace_text
from steps.lab.simulator.tracking import Tracker


class Layer:
    """One VMDK: a descriptor and its raw file. `written` is what a delta holds; None for the base, which
    holds all."""

    def __init__(self, descriptor: Path, suffix: str, size: int, written: Ranges | None) -> None:
        self.descriptor = descriptor
        self.raw = RawFile(descriptor.with_name(f"{descriptor.stem}{suffix}.vmdk"), size)
        self.written = written
        self.content_id = secrets.token_hex(16)

    @property
    def cid(self) -> str:
        return self.content_id[:8]

    def remove(self) -> None:
        self.raw.remove()
        self.descriptor.unlink()


class Disk:
    """`directory` is the VM's on the disk's datastore. Not locked: the caller holds the world's lock."""

    def __init__(self, spec: DiskSpec, directory: Path, name: str, uuid: str) -> None:
        """`name` is the descriptor's, without .vmdk. A disk that is there keeps its bytes, else it gets its
        content."""
        self.spec = spec
        self.key = spec.key
        self.uuid = uuid
        self.capacity = spec.size
        self.tracker: Tracker | None = None
        self.left_out = spec.tracking != "works"
        """Of tracking, though the VM has it on."""
        descriptor = directory / f"{name}.vmdk"
        self.layers = [Layer(descriptor, "-rdmp" if spec.physical else "-flat", spec.size, None)]
        if not descriptor.exists():  # it is written when the content is whole
            fill(self.top.raw, spec.content)
        self.describe(self.top)

    @property
    def top(self) -> Layer:
        return self.layers[-1]

    @property
    def descriptor(self) -> Path:
        return self.layers[0].descriptor

    @property
    def snapshottable(self) -> bool:
        """Independent disks and physical raw device mappings are left alone by snapshots, and cannot be
        tracked."""
        return not self.spec.physical and not self.spec.mode.startswith("independent")

    @property
    def trackable(self) -> bool:
        return self.snapshottable and self.spec.sharing == "none"

    @property
    def tracked(self) -> bool:
        """Where the VM is."""
        return self.trackable and not self.left_out

    def close(self) -> None:
        for layer in self.layers:
            layer.raw.close()

    # reading and writing

    def write(self, offset: int, content: bytes | memoryview) -> None:
        """A guest write, seen by change tracking."""
        end = offset + len(content)
        if offset < 0 or end > self.capacity:
            raise ValueError(f"disk {self.key} has {self.capacity} bytes; cannot write [{offset}, {end})")
        self.top.raw.write(offset, content)
        if self.top.written is not None:
            self.top.written.add(offset, end)
        if self.tracker is not None:
            self.tracker.note(offset, end)

    def read(self, offset: int, length: int) -> bytes:
        """What the guest reads."""
        buffer = bytearray(length)
        self._read(len(self.layers) - 1, offset, memoryview(buffer))
        return bytes(buffer)

    def _read(self, depth: int, offset: int, buffer: memoryview) -> None:
        layer = self.layers[depth]
        if layer.written is None:
            layer.raw.read_into(offset, buffer)
            return
        for start, end, here in layer.written.split(offset, offset + len(buffer)):
            part = buffer[start - offset : end - offset]
            if here:
                layer.raw.read_into(start, part)
            else:
                self._read(depth - 1, start, part)

    def allocated(self, layer: Layer, start: int, end: int, block: int) -> Iterator[tuple[int, int]]:
        """The blocks of [start, end) that hold data in the chain up to `layer`."""
        found = Ranges()
        for below in self.layers[: self.layers.index(layer) + 1]:
            pieces = (
                below.written.within(start, end)
                if below.written is not None
                else _data(below.raw, start, end)
            )
            for first, last in pieces:
                found.add(*aligned(first, last, block, self.capacity))
        return found.within(start, end)

    # layers

    def freeze(self) -> Layer:
        """Freezes the top layer, which is returned, and puts a delta on it.

        The delta's number follows the files present, so that a freed number returns (vSphere VM
        Administration).
        """
        frozen = self.top
        base = self.layers[0].descriptor
        descriptor = next(
            path
            for number in itertools.count(1)
            if not (path := base.with_name(f"{base.stem}-{number:06}.vmdk")).exists()
        )
        delta = Layer(descriptor, "-delta", self.capacity, Ranges())
        self.layers.append(delta)
        self.describe(delta)
        return frozen

    def merge_down(self, frozen: Layer) -> Layer:
        """Writes the layer above `frozen` into it, and drops that layer; returns the layer dropped."""
        index = self.layers.index(frozen)
        above = self.layers.pop(index + 1)
        assert above.written is not None
        for start, end in above.written:
            for offset in range(start, end, CHUNK):
                frozen.raw.write(offset, above.raw.read(offset, min(CHUNK, end - offset)))
        if frozen.written is not None:
            frozen.written.update(above.written)
        above.remove()
        for layer in self.layers[index : index + 2]:
            self.describe(layer)
        return above

    def flatten(self) -> None:
        """Every delta into the base, which then is what the guest sees."""
        while len(self.layers) > 1:
            self.merge_down(self.layers[0])

    def drop_above(self, layer: Layer) -> None:
        while self.top is not layer:
            self.layers.pop().remove()

    def grow(self, capacity: int, *, keep_tracking: bool) -> None:
        self.top.raw.grow(capacity)
        self.capacity = capacity
        if self.tracker is not None and keep_tracking:
            self.tracker.grow(capacity)
        elif self.tracker is not None:
            self.tracker = Tracker(capacity)
        self.describe(self.top)

    def empty(self, capacity: int) -> None:
        """Drops its bytes and makes it so large, as an import does whose stream says another capacity than
        the spec. Not in a snapshot."""
        base = self.top
        path = base.raw.path
        base.raw.remove()
        base.raw, self.capacity = RawFile(path, capacity), capacity
        if self.tracker is not None:
            self.tracker = Tracker(capacity)
        self.describe(base)

    def remove(self) -> None:
        """All its files."""
        while self.layers:
            self.layers.pop().remove()

    def boot(self) -> None:
        """A guest that boots writes to it, so that the content is another by its id."""
        self.top.content_id = secrets.token_hex(16)
        self.describe(self.top)

    def describe(self, layer: Layer) -> None:
        """Writes the layer's descriptor. With tracking on, it says so (VDDK guide, VMDK versions)."""
        index = self.layers.index(layer)
        sectors = self.capacity // 512
        lines = [
            "# Disk DescriptorFile",
            f"version={3 if self.tracker else 1}",
            'encoding="UTF-8"',
            f"CID={layer.cid}",
        ]
        lines.append(f"parentCID={self.layers[index - 1].cid if index else 'ffffffff'}")
        if index:
            lines += [
                'createType="vmfsSparse"',
                f'parentFileNameHint="{self.layers[index - 1].descriptor.name}"',
            ]
            lines.append(f'RW {sectors} VMFSSPARSE "{layer.raw.path.name}"')
        elif self.spec.physical:
            lines += [
                'createType="vmfsPassthroughRawDeviceMap"',
                f'RW {sectors} VMFSRDM "{layer.raw.path.name}"',
            ]
        else:
            lines += ['createType="vmfs"', f'RW {sectors} VMFS "{layer.raw.path.name}"']
        if self.tracker:
            lines.append(f'changeTrackPath="{layer.descriptor.stem}-ctk.vmdk"')
        spaced = bytes.fromhex(self.uuid.replace("-", "")).hex(" ")
        lines.append(f'ddb.uuid = "{spaced[:23]}-{spaced[24:]}"')
        replace_text(layer.descriptor, "\n".join(lines) + "\n")


def _data(raw: RawFile, start: int, end: int) -> Iterator[tuple[int, int]]:
    return ((first, last) for first, last, data in raw.extents(start, end) if data)
