"""A restore point that a command works with outside of any run: found, checked to be whole, and released at
the end."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import click

from runner.app.outside import context_outside_of_runs
from runner.base.errors import DifferenceError
from runner.step.context import Context
from steps.commands import consent
from steps.commands.asked import Asked, tell_warning
from steps.commands.find import find_point
from steps.points import stored
from steps.qemu import img
from steps.values.stored_point import StoredPoint


@contextmanager
def opened_point(
    asked: Asked,
    name: str,
    disks: Sequence[int],
    stop: threading.Event,
    *,
    accepted: bool,
) -> Iterator[tuple[Context, StoredPoint]]:
    """What is started with the context ends with the block. A point that is suspect or damaged is asked
    about, unless that is `accepted`, and ends the command with the exit code of a difference. Raises what
    `find_point`, `stored.read` and `consent.agree` do."""
    with context_outside_of_runs(asked.job, "point", stop, tell_warning, asked.options.hosts) as ctx:
        place, path = find_point(asked.job, asked.places_of(ctx), name)
        img.QEMU_IMG.require(ctx, place.host)
        point, known = stored.weighed(place.host, place.path, path, disks)
        consent.accept_suspect(known, "Open it anyway?", given=accepted)
        with ctx.closing:
            yield ctx, point
    if point.doubts:
        print(f"! {point.vm}/{point.point} is not trusted: {'; '.join(point.doubts)}", file=sys.stderr)
        raise click.exceptions.Exit(DifferenceError.exit_code)
