"""A restore point that a command works with outside of any run: found, proven to be whole, and let go of at the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from runner.app import Options, new_run_id, read_job
from runner.cli.repositories import find_point, places_of, tell_warning
from runner.events import Bus
from runner.process import temporary_directory
from runner.step import Context, Run
from runner.world import World
from steps import stored, tools
from steps.stored import StoredPoint


@contextmanager
def opened_point(
    site: Path,
    options: Options,
    repository: str | None,
    name: str,
    disks: Sequence[int],
    stop: threading.Event,
) -> Iterator[tuple[Context, StoredPoint]]:
    """What is started with the context ends with the block. Raises what `find_point` and `stored.read` do."""
    job, bus = read_job(site, options, part=True), Bus()
    bus.subscribe(tell_warning)
    with temporary_directory() as scratch, World(job, bus, stop, Path(scratch)) as world:
        world.run = Run(new_run_id(), job.name, job.digest, None)
        place, path = find_point(places_of(world, repository), name)
        ctx = world.context("point")
        tools.require(ctx, place.host, tools.QEMU_IMG)
        point = stored.read(place.host, place.path, path, disks)
        with ctx.closing:
            yield ctx, point
