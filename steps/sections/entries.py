"""The sections of a job file, with what the doctor looks at behind each entry.

What the entries are stands below, with those who work with them; here is what a run needs of them whatever
its VM is, so that all of it can be looked at though there may be no VM.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from runner.base.units import MiB, human_bytes
from runner.events.check_results import Observation, good, noted, wrong
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.items import Ahead, Census, Item, Room, Where
from runner.step.section import Orphan, Remark, Surroundings, Use
from steps.guest.guestfish import GUESTFISH
from steps.qemu import img, nbd_server
from steps.repository import reader
from steps.repository.marker import marked
from steps.repository.section import Repository
from steps.vsphere.section import VCenter

LEAST_FREE = MiB
"""With less not even an empty image and a manifest fit, whatever the disks are."""


class RepositoryEntry(Repository):
    __doc__ = Repository.__doc__

    tools = (GUESTFISH,)  # of the command `files`, which is no step

    @classmethod
    def orphans(cls, ctx: Context, surroundings: Surroundings) -> Iterator[Orphan]:
        """Also those in vCenters: whether a snapshot is one, the lock in its repository tells."""
        from steps.sections.orphans import find_orphans

        return find_orphans(ctx, surroundings)

    @property
    def remarkable(self) -> bool:
        return bool(self.lock) or self.brake is not None

    def remarks(self, name: str, uses: Sequence[Use]) -> Iterator[Remark]:
        if self.lock:
            from steps.lock import remarks

            yield from remarks.of(name, self.lock, uses)
        if self.brake is not None:
            from steps.brake import remarks as of_brake

            yield from of_brake.of(name, uses)

    def examine(self, ctx: Context, name: str) -> tuple[Observation, ...]:
        """The programs and forwards are for images on it, which are written and read through exporters
        there."""
        from steps.lock import told
        from steps.nbd import forwards
        from steps.readback import on_host

        host = ctx.host(self.host)
        there = marked(host, name, self.path)
        exporter = nbd_server.QEMU_NBD.observe(ctx, host)
        return (
            there,
            *(
                ()
                if there.state == "wrong"
                else (
                    _room(host, name, self.path),
                    *_pruning(host, name, self.path),
                    *told.examine(host, name, self.path, self.lock),
                )
            ),
            img.QEMU_IMG.observe(ctx, host),
            exporter,
            *(() if exporter.state == "wrong" else (forwards.examine(ctx, host),)),
            *(() if host.local or exporter.state == "wrong" else (on_host.examine(ctx, host),)),
        )

    def ahead(self, ctx: Context, name: str) -> Ahead | None:
        from steps.repository import beforehand, whole

        assert ctx.answers is not None, "it is read for a look"
        host = ctx.host(self.host)
        found = whole.take(host, self.path)
        beforehand.put(ctx.answers, host, self.path, found)
        return found

    def newest(self, ctx: Context, name: str) -> Mapping[str, datetime]:
        from steps.repository import whole

        return whole.take(ctx.host(self.host), self.path).newest_good()


class VCenterEntry(VCenter):
    __doc__ = VCenter.__doc__

    def census(self, ctx: Context, name: str, wheres: Sequence[Where]) -> Census:
        from steps.vsphere import census

        return census.take(ctx, name, wheres)

    def rooms(self, ctx: Context, name: str, items: Sequence[Item]) -> tuple[Room, ...]:
        if self.limits.held_snapshots is None and self.min_free is None:
            return ()
        from steps.vsphere.room import rooms

        return tuple(rooms(ctx, name, self.limits, self.min_free, items))

    def examine(self, ctx: Context, name: str) -> tuple[Observation, ...]:
        from steps.vsphere.checks import answers, certificate

        found = answers(ctx, name)
        return (found,) if found.state == "wrong" else (found, certificate(ctx, name))


def _pruning(host: Host, name: str, path: str) -> Iterator[Observation]:
    """What retention copies there, where it copies."""
    from steps.points import sharing

    if why := sharing.unshared(host, path):
        vms = reader.read_all(host, path).vms.values()
        yield noted(f"repository {name}", "pruning", f"{why}; {sharing.told(sharing.nightly(vms))}")


def _room(host: Host, name: str, path: str) -> Observation:
    subject, looked_at, free = f"repository {name}", "free space", host.free_bytes(path)
    found = f"{human_bytes(free)} free on {host.name}"
    return (
        wrong(subject, looked_at, found, "free some space there")
        if free < LEAST_FREE
        else good(subject, looked_at, found)
    )
