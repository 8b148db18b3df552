"""Carrying out a policy on one VM: what is to go is decided again before each act, since much may change
while images are rebuilt."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime

from pydantic import ValidationError

from runner.base.errors import Interrupted, SendenseError
from runner.hosts.host import Host
from runner.step.context import Context
from steps.points import retention_plan
from steps.points.dependants import refuse_if_built_on
from steps.points.rebase import Rebuilding
from steps.points.retention_plan import NoRoomError, VmPlan
from steps.repository import layout, locked, reader, verification_records
from steps.repository.locked import IsLockedError
from steps.repository.retention import Move, Policy
from steps.repository.section import BrakeLimits
from steps.repository.vm_directory import VmDirectory
from steps.trail import log
from steps.trail.log import Log
from steps.values.pruned import Dropped, Pruned


class ProtectedMeanwhileError(SendenseError):
    def __init__(self, path: str) -> None:
        super().__init__(f"{path} is kept: it was protected meanwhile; run the same command again")


class Pruning:
    """Of the VM in the directory of `rebuilding`, whose lock is held. `planned`: what was decided before, and
    nothing else goes. `now`: when that was, None for this moment."""

    def __init__(
        self,
        rebuilding: Rebuilding,
        policy: Policy,
        planned: VmPlan | None,
        now: datetime | None,
        brake: BrakeLimits | None,
    ) -> None:
        self._rebuilding = rebuilding
        self._ctx = rebuilding.ctx
        self._host = rebuilding.host
        self._directory = rebuilding.directory
        self._log = log.of(rebuilding.ctx, rebuilding.host, rebuilding.root)
        self._policy = policy
        self._planned = planned
        self._now = now
        self._brake = brake
        self._moved: list[Move] = []
        self._immutable: set[str] = set()
        """Points that turned out to be, though nobody had said so."""

    def run(self) -> Pruned:
        """Raises RebuiltDiffersError, NoRoomError, ProtectedMeanwhileError, HasChildrenError, Interrupted."""
        self._finish()
        vm, due = self._decide(self._planned)
        agreed = due
        label = due.label if self._planned is None else self._planned.label
        gone = _Gone(self._ctx, due.instance_uuid)
        # A verification may find meanwhile that what stays is damaged: before each deletion the plan is made
        # again, from the points that were agreed on at first.
        try:
            while due.refused is None and (due.plan.moves or due.plan.drops):
                self._ctx.check_stop()
                try:
                    if due.plan.moves:
                        for point in due.plan.drops:  # else it would be rebuilt for nothing
                            locked.refuse(self._host, posixpath.join(self._directory, point))
                        self._rebuild(due)
                    else:
                        self._drop_newest(vm, due, label, gone)
                except IsLockedError as error:
                    # Root's timer does not wait for us: it stays, and it is decided again of the others.
                    self._immutable.add(error.point)
                    self._ctx.warn(f"{label}: {error.message}")
                vm, due = self._decide(agreed)
        except SendenseError as error:
            if gone.points:
                error.add(f"deleted of {label}: {', '.join(sorted(gone.points))}")
            raise
        if due.refused is not None:
            more = "more " if self._moved or gone.points else ""
            self._ctx.warn(f"nothing {more}of {label} is pruned: {due.refused}")
        elif due.braked is not None and vm.newest is not None and vm.newest.manifest.run != self._ctx.run.id:
            self._ctx.warn(f"{label}: {due.braked}")  # a backup has said so when it published
        return Pruned(
            vm=label,
            instance_uuid=due.instance_uuid,
            dropped=tuple(gone.points[point] for point in sorted(gone.points)),
            rebuilt=tuple(_words(move) for move in self._moved),
            notes=tuple(f"{why}." for why in (due.refused, due.braked) if why is not None)
            + tuple(f"{point} stays: it is immutable." for point in sorted(self._immutable)),
        )

    def _finish(self) -> None:
        """What a killed prune left."""
        vm = reader.read(self._host, self._directory)
        if not vm.leftovers or vm.unread:
            return
        finish_drops(self._host, self._directory, self._log)
        names = self._host.listdir(self._directory)
        for name in filter(layout.is_point, names):
            self._rebuilding.finish(name, beside=layout.rebuilt(name) in names)

    def _decide(self, before: VmPlan | None) -> tuple[VmDirectory, VmPlan]:
        """What goes now: of what was planned `before`, that which is still to go."""
        vm = reader.read(self._host, self._directory)
        pinned: dict[str, str] = {}
        # Time goes on while images are rebuilt; nothing may go that nobody was shown.
        if before is not None:
            planned = set(before.plan.drops)
            pinned = {
                entry.point: "not planned for deletion" for entry in vm.entries if entry.point not in planned
            }
        own = {
            entry.point: "published by this run"
            for entry in vm.entries
            if entry.manifest.run == self._ctx.run.id
        }
        now, shares = self._now or datetime.now(UTC), self._rebuilding.shares
        return vm, retention_plan.plan_of(
            self._host,
            vm,
            self._policy,
            now,
            pinned | own,
            shares=shares,
            brake=self._brake,
            immutable=self._immutable,
        )

    def _rebuild(self, due: VmPlan) -> None:
        free = self._host.free_bytes(self._directory)
        if free < due.work.room:
            raise NoRoomError(self._host, due, free)
        moves = due.plan.moves
        for number, move in enumerate(moves):
            self._ctx.check_stop()
            self._ctx.progress(due.vm, "rebuild", number, len(moves), noun="image")
            self._ctx.hold()
            self._rebuilding.put(move)
            self._moved.append(move)
            self._ctx.advanced.set()

    def _drop_newest(self, vm: VmDirectory, due: VmPlan, label: str, gone: _Gone) -> None:
        """So that each point that is there has its whole chain, whenever this is killed."""
        drops, done = due.plan.drops, len(gone.points)
        newest = drops[-1]
        self._ctx.progress(label, "delete", done, done + len(drops), noun="point")
        self._ctx.hold()
        why = due.plan.why(newest)
        drop(self._host, self._directory, newest, self._log, why)
        freed = vm.stored_in(posixpath.join(self._directory, newest))
        gone.add(Dropped(point=newest, freed=freed, why=why))


class _Gone:
    """The points of one VM that this run deleted, also in executions that were killed: a run that resumes it
    is told of all."""

    def __init__(self, ctx: Context, instance_uuid: str) -> None:
        self._log = ctx.log(f"pruned-{instance_uuid}")
        self.points: dict[str, Dropped] = {}
        for line in (self._log.read() or b"").splitlines():
            with suppress(ValidationError):  # torn by a kill
                self._know(Dropped.model_validate_json(line))

    def add(self, point: Dropped) -> None:
        self._log.append(point.model_dump_json().encode() + b"\n")
        self._know(point)

    def _know(self, point: Dropped) -> None:
        self.points[point.point] = point


def finish_drops(host: Host, directory: str, log: Log) -> None:
    """Of points that a killed command took from the list, and what is beside points that are gone. The VM's
    lock is held. What is immutable stays, with a warning: it keeps nothing else from going. Raises
    HasChildrenError."""
    names = host.listdir(directory)
    for name in names:
        if layout.is_dropped(name):
            point = name.removesuffix(layout.DROPPED)
            refuse_if_built_on(host, directory, point)
            if locked.is_held(host, path := posixpath.join(directory, name)):
                log.warn(IsLockedError(path, host.name).message)
                continue
            log.note("prune", vm=directory, points=(point,), text="what a killed command had begun")
            host.remove(path, recursive=True)
    for name in names:
        beside = layout.point_of_marks(name) or layout.point_of_rebuilt(name)
        if beside is not None and beside not in names:
            host.remove(posixpath.join(directory, name), recursive=True)


def drop(host: Host, directory: str, point: str, log: Log, why: str) -> None:
    """From the list in one step, and then from the disk. Raises ProtectedMeanwhileError, HasChildrenError,
    IsLockedError."""
    path = posixpath.join(directory, point)
    if verification_records.protection(host, path, datetime.now(UTC)) is not None:
        raise ProtectedMeanwhileError(path)
    refuse_if_built_on(host, directory, point)
    locked.refuse(host, path)
    # A half-deleted point must not be listed: the rename takes it from the list in one act, and what a kill
    # leaves is known by its name.
    dropped = path + layout.DROPPED
    with _locked_meanwhile(host, path):
        host.rename(path, dropped)
    # Before all of it is gone: the command that finishes what a kill left logs it too.
    log.note("prune", vm=directory, points=(point,), text=why)
    with _locked_meanwhile(host, dropped):
        host.remove(dropped, recursive=True)
    host.remove(layout.marks(path), layout.rebuilt(path), recursive=True)


@contextmanager
def _locked_meanwhile(host: Host, path: str) -> Iterator[None]:
    """Raises IsLockedError for what failed because of that."""
    try:
        yield
    except Interrupted:
        raise
    except SendenseError as error:
        if not locked.came_meanwhile(host, path):
            raise
        raise IsLockedError(path, host.name) from error


def _words(move: Move) -> str:
    backing = "is now a full" if move.onto is None else f"is now backed by {move.onto}"
    return f"disk {move.key} of {move.point} {backing}; it was backed by {move.parent}"
