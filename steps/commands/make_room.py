"""`sendense prune --make-room SIZE`: room on a repository's host that has none left to work in.

It is no run: where nothing is free, no record of one could be written either.
"""

from __future__ import annotations

import itertools
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, TextIO

import click
from pydantic import JsonValue

from runner.app.outside import context_outside_of_runs
from runner.base.errors import Interrupted, SendenseError
from runner.base.units import counted, human_bytes, parse_size
from runner.cli.options import print_json
from runner.cli.signals import StopRequest, stop_on_signals
from runner.console.tables import print_table
from steps.commands.asked import Asked, tell_warning
from steps.commands.consent import agree
from steps.commands.find import one
from steps.commands.scope import chosen
from steps.points import room
from steps.points.place import Place
from steps.points.room import Expendable, Found
from steps.repository.naming import Names
from steps.repository.section import locate
from steps.repository.vm_lock import hold
from steps.trail import log

MAKE_ROOM_SCHEMA_VERSION = 1


class Bytes(click.ParamType[int]):
    """``20 GiB``"""

    name = "size"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        try:
            return parse_size(int(value) if str(value).isdecimal() else value)
        except ValueError as error:
            self.fail(str(error), param, ctx)


def make_room(asked: Asked, vms: Sequence[str], size: int, *, all_vms: bool, dry_run: bool, yes: bool) -> int:
    """Deletes what may go, oldest chains first, until `size` bytes are free on the repository's file system.
    The exit code: 0 where they are."""
    with asked.places() as places:
        work = _Work(asked, one(places), size)
        names = Names.read(work.place.host, work.place.path)
        wanted, brake = chosen(asked.job, names, vms, all_vms=all_vms), asked.brake(work.place.name)
        found = room.expendable(work.place.host, names, wanted, datetime.now(UTC), brake)
        free = work.free
        points = room.enough(found.points, size - free)
        _show(found, points, sys.stderr if asked.as_json else sys.stdout)
        refusal = _too_little(work, points, free)
        for line in (*(f"{vm.vm_name} is left alone: {why}" for vm, why in found.refused), *refusal):
            print(line, file=sys.stderr)
        if points and not refusal and not dry_run:
            question = f"Delete {counted(len(points), 'point')}?"
            agree(question, given=yes, option="--yes", untouched="nothing was deleted")
            work.delete(points)
        code = 1 if refusal else 0 if dry_run else work.exit_code
        if asked.as_json:
            print_json(_document(work, found, points, dry_run=dry_run, exit_code=code))
        elif not refusal and not dry_run:
            print(work.sentence)
        return code


@dataclass
class _Work:
    asked: Asked
    place: Place
    size: int
    """Bytes that are to be free."""
    deleted: list[Expendable] = field(default_factory=list)
    failures: list[SendenseError] = field(default_factory=list)

    @property
    def free(self) -> int:
        return self.place.host.free_bytes(self.place.path)

    @property
    def exit_code(self) -> int:
        if self.free >= self.size:
            return 0
        return self.failures[0].exit_code if self.failures else 1

    @property
    def sentence(self) -> str:
        """What came of it."""
        free = f"{human_bytes(self.free)} free on {self.place.host.name}"
        if not self.deleted:
            return f"nothing was deleted: {free}"
        what = f"deleted {counted(len(self.deleted), 'point')}: {free}"
        if self.free >= self.size or self.failures:
            return what
        return f"{what}, less than their files took: run the same command again, or free other space there"

    def delete(self, points: Sequence[Expendable]) -> None:
        """Raises Interrupted."""
        with stop_on_signals("finishing the deletion of one point") as stop:
            for directory, group in itertools.groupby(points, key=lambda point: point.directory):
                try:
                    self._delete_of(directory, {point.point: point for point in group}, stop)
                except Interrupted:
                    print(self.sentence, file=sys.stderr)
                    raise
                except SendenseError as error:  # of one VM: others have no part in it
                    self.failures.append(error)
                    print(f"sendense: {error}", file=sys.stderr)
                if self.free >= self.size:
                    return

    def _delete_of(self, directory: str, points: dict[str, Expendable], stop: StopRequest) -> None:
        """Of one VM, with its lock held, so of none that a run works on."""
        label = next(iter(points.values())).vm
        asked = self.asked
        with (
            context_outside_of_runs(asked.job, "make-room", stop, tell_warning, asked.options.hosts) as ctx,
            ctx.closing,
        ):
            host, root = locate(ctx, self.place.name)
            hold(ctx, host, directory, f"VM {label!r} in repository {self.place.name}")
            noted, now = log.of(ctx, host, root), datetime.now(UTC)
            brake = asked.brake(self.place.name)
            for point, gone in room.delete(host, directory, points, self.size, now, noted, brake):
                if gone:
                    self.deleted.append(points[point])
                else:
                    why = "it is locked, or something needs it by now"
                    print(f"{label}/{point} is kept: {why}", file=sys.stderr)
                ctx.check_stop()
                ctx.hold()


def _show(found: Found, points: Sequence[Expendable], stream: TextIO) -> None:
    rows = [(f"{point.vm}/{point.point}", human_bytes(point.frees), point.why) for point in points]
    if rows:
        print_table("", ("point", "frees", "why"), rows, stream=stream)
    freed = human_bytes(sum(point.frees for point in points))
    others = len(found.points) - len(points)
    more = f"; {counted(others, 'more point')} could go without a rebuild" if others else ""
    stream.write(f"{counted(len(points), 'point')} would be deleted ({freed}), nothing rebuilt{more}\n")


def _too_little(work: _Work, points: Sequence[Expendable], free: int) -> list[str]:
    """That all that may go is not enough."""
    after = free + sum(point.frees for point in points)
    if after >= work.size:
        return []
    return [
        f"sendense: that leaves {human_bytes(after)} free on {work.place.host.name}, not "
        f"{human_bytes(work.size)}, and nothing was deleted: all else is a last good point, protected, "
        "locked, newer than a good one, or backs one of these. Ask for less, lift a protection, or free "
        "other space there; pruning by rules (--keep-…) rebuilds images, which needs room first"
    ]


def _document(
    work: _Work, found: Found, points: Sequence[Expendable], *, dry_run: bool, exit_code: int
) -> dict[str, JsonValue]:
    return {
        "schema_version": MAKE_ROOM_SCHEMA_VERSION,
        "dry_run": dry_run,
        "exit_code": exit_code,
        "size": work.size,
        "free": work.free,
        "planned": [point.to_json_value() for point in points],
        "deleted": [point.to_json_value() for point in work.deleted],
        "refused": [{"vm": vm.vm_name, "instance_uuid": vm.uuid, "why": why} for vm, why in found.refused],
        "errors": [error.message for error in work.failures],
    }
