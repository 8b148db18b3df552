"""Sources and views for the steps that move and compare a disk's bytes: real exporters, sshd where the hub is behind one."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from runner.base.units import KiB, MiB
from runner.step.context import Context
from steps.backup.open_tunnel import OpenTunnel, OpenTunnelIn, OpenTunnelLive
from steps.backup.start_nbd import StartNbd, StartNbdIn
from steps.backup.transfer import Transfer, TransferIn, TransferLive
from steps.backup.verify import Verify, VerifyIn
from steps.values.copied import Copied
from steps.values.image import Image
from steps.values.source import Source
from steps.values.tunnel import Tunnel
from steps.values.verified import Verified
from steps.vsphere.inventory import Disk
from tests.hub import CREATED, Hub, disk
from tests.nbd_servers import Servers, raw

SNAPSHOT = "snapshot-31"
CAPACITY = 12 * MiB + 512


def content(length: int, seed: int = 1) -> bytes:
    return random.Random(seed).randbytes(length)


class Guest:
    """A frozen disk as a raw file, served by nbdkit."""

    def __init__(self, servers: Servers, path: Path, of: Disk | None = None) -> None:
        self.disk = of or disk(capacity=CAPACITY)
        self.servers = servers
        self.path = raw(path / f"guest-{self.disk.key}.raw", self.disk.capacity)
        self.write(0, content(MiB))
        self.write(6 * MiB + 510 * KiB, content(4 * KiB, seed=2))
        self.write(self.disk.capacity - 512, content(512, seed=3))

    def write(self, offset: int, what: bytes) -> None:
        with self.path.open("r+b") as file:
            file.seek(offset)
            file.write(what)

    def source(self, *filters: str) -> Source:
        server = self.servers.nbdkit("-r", *filters, "file", str(self.path))
        return Source(
            snapshot=SNAPSHOT,
            created=CREATED,
            disk_key=self.disk.key,
            backing_uuid=self.disk.backing_uuid,
            capacity=self.disk.capacity,
            transport="https",
            why="the test says so",
            uris=(server.uri, server.uri),
            extents=True,
        )


@contextmanager
def opened(hub: Hub, image: Image) -> Iterator[tuple[Tunnel, Context]]:
    """The image behind an exporter and forwards of its own, and the context that holds their processes."""
    context = hub.context("view")
    with context.closing:
        inputs = StartNbdIn.from_json_value({"image": image.to_json_value(), "connections": 2})
        export = StartNbd().run(context, inputs, StartNbd.Live())
        live = OpenTunnelLive(export=export)
        yield OpenTunnel().run(context, OpenTunnelIn(connections=2), live), context


def transfer(hub: Hub, source: Source, image: Image, context: Context | None = None, **how: float) -> Copied:
    with opened(hub, image) as (tunnel, _):
        live = TransferLive(source=source, target=tunnel)
        return Transfer().run(context or hub.context("transfer"), TransferIn.from_json_value(dict(how)), live)


def verify(hub: Hub, copied: Copied, level: str = "full", context: Context | None = None) -> Verified:
    return Verify().run(context or hub.context("verify"), verify_inputs(copied, level), Verify.Live())


def verify_inputs(copied: Copied, level: str = "full") -> VerifyIn:
    return VerifyIn.from_json_value({"copied": copied.to_json_value(), "level": level})
