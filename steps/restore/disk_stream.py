"""A disk of a restore point as a stream: every block is compared with its digest on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from runner.step.context import Context
from steps.copy.compare import BlockDifference, Compared, compare
from steps.copy.engine import Tuning
from steps.nbd.growing_endpoint import GrowingEndpoint, most_connections
from steps.points.stored import receive_digests
from steps.restore.point_copy import BLOCKS_PER_CONNECTION, PointDamagedError
from steps.stream.writer import Stream, StreamWriter
from steps.values.serving import Serving
from steps.values.stored_point import StoredDisk


@dataclass(frozen=True)
class Streamed:
    """`blocks` were compared: all of the disk's."""

    stream: Stream
    blocks: int


def write_stream(
    ctx: Context,
    disk: StoredDisk,
    source: Serving,
    write: Callable[[bytes], object],
    on_progress: Callable[[Compared], None] = lambda now: None,
) -> Streamed:
    """Calls `write` with the stream from its start to its end. The same disk always gives the same stream.

    Raises PointDamagedError, DigestsDamagedError, StreamTooLongError, CopyError, Interrupted, and what
    `write` raises."""
    name = f"image of disk {disk.key} on {disk.image.host}"
    expected = receive_digests(ctx.host(disk.image.host), disk, ctx.scratch / f"expected-{disk.key}")
    with (
        expected,
        GrowingEndpoint(ctx, source.uris, source.wire, name) as endpoint,
        StreamWriter(write, disk.capacity, content_id=int(disk.digest[:8], 16)) as stream,
    ):

        def progressed(now: Compared) -> None:
            endpoint.moved(now.read, now.total - now.done)
            on_progress(now)

        connections = most_connections(source.wire, source.uris)
        try:
            compared = compare(
                endpoint,
                expected,
                stop=ctx.stop,
                in_flight=max(Tuning.in_flight, BLOCKS_PER_CONNECTION * connections),
                on_equal=stream.put,
                on_progress=progressed,
            )
        except BlockDifference as difference:
            raise PointDamagedError(disk, difference.offset) from difference
        return Streamed(stream.finish(), compared.compared)
