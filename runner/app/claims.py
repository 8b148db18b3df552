"""What a child of a set, or a job that runs by itself, takes of the limits of the entries and hosts that its
steps name."""

from __future__ import annotations

import posixpath
import socket
from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace

from runner.app.inspection import named_by
from runner.base.errors import Interrupted, SendenseError
from runner.engine.world import World
from runner.hosts.held_lock import holder_of
from runner.hosts.spec import SshSpec
from runner.job.model import Job
from runner.sets.slots import DIRECTORY, Slots
from runner.step.items import Claim, Item, Room
from runner.step.section import Section

_GRAIN = 4
"""Bits of a number of bytes that are kept, rounded up: VMs of about one size then wait together."""


class Limits:
    """Of one job, whose items all name the same entries and hosts."""

    def __init__(self, job: Job, world: World, nodes: int) -> None:
        """`job`: a child, or one that is no set; `nodes`: how many of its nodes run at once, and with that
        how many of its disks are open."""
        self._job = job
        self._world = world
        self._nodes = nodes
        self._named, sections = named_by(job, harmless=False)
        hosts, everything = named_by(job)
        self._hosts = {
            name: spec
            for name in hosts
            if isinstance(spec := job.hosts[name], SshSpec) and spec.limits.disks is not None
        }
        self._entries = _entries(job, sections)
        self._harmless = _entries(job, [one for one in everything if one not in sections])

    @property
    def any(self) -> bool:
        """Whether there is anything to wait for."""
        return bool(self._hosts) or any(entry.limited for _, entry in (*self._entries, *self._harmless))

    def claims(self, item: Item, writes: int | None = None, reads: Collection[str] = ()) -> tuple[Claim, ...]:
        """`item` with its disks; `writes`: bytes that it is expected to write at most, None where that cannot
        be told; `reads`: names of entries that it only reads. Raises SendenseError."""
        ctx = self._world.unheard("limits")
        at_once = replace(item, disks=None if item.disks is None else min(item.disks, self._nodes))
        found = [
            claim
            for name, entry in self._entries
            for claim in entry.claims(ctx, name, at_once)
            if not (claim.writes and name in reads)
        ]
        found += self._of_harmless(at_once)
        for name, spec in self._hosts.items():
            assert spec.limits.disks is not None
            resource, what = (
                f"host {spec.identity_value()} disks",
                f"disks worked on with host {name} at once",
            )
            found.append(Claim.share(resource, at_once.disks, spec.limits.disks, what))
        return tuple(replace(one, amount=rounded(writes or 0)) if one.writes else one for one in found)

    def _of_harmless(self, item: Item) -> list[Claim]:
        """Of what only harmless steps name: its counted limits hold, and its room is theirs to look at. What
        cannot be asked is no reason to wait, and is asked once."""
        ctx = self._world.unheard("limits")
        found: list[Claim] = []
        for name, entry in tuple(self._harmless):
            try:
                found += [claim for claim in entry.claims(ctx, name, item) if not claim.writes]
            except Interrupted:
                raise
            except SendenseError:
                self._harmless.remove((name, entry))
        return found

    def needs(self, item: Item) -> frozenset[str]:
        """See `Request.needs`."""
        return _needs(self._named, self._entries, item)

    def rooms(self, items: Sequence[Item]) -> tuple[Room, ...]:
        """How to measure what their claims name. Raises SendenseError."""
        ctx = self._world.unheard("room")
        return tuple(room for name, entry in self._entries for room in entry.rooms(ctx, name, items))

    def slots(self, run: str) -> Slots | None:
        """Where runners share these limits; None if there are none. `run`: the id that this one is known
        by."""
        return slots_of(self._job, self._world, run) if self.any else None


def slots_of(job: Job, world: World, run: str) -> Slots | None:
    """Where runners share the limits that the job names; None if it names no such place. `run`: the id that
    this one is known by."""
    if (place := job.slots_place) is None:
        return None
    holder = holder_of(run, job.name, world.execution)
    directory = posixpath.join(place.path, DIRECTORY)
    return Slots(world.lasting_host(place.host), directory, holder, place.ready)


def host_claims(job: Job, host: str, *, memory: int, disk: int) -> tuple[Claim, ...]:
    """What work takes of the limits of that host of the job; bytes, no more than these grant."""
    spec, limits = job.hosts.get(host), job.room_limits(host)
    # Each machine that sendense runs on has a `local` of its own.
    where = spec.identity_value() if isinstance(spec, SshSpec) else f"local {socket.gethostname()}"
    return tuple(
        Claim(f"host {where} {kind}", amount, limit, f"{what} that host {host} grants at once", bytes=True)
        for kind, amount, limit, what in (
            ("memory", memory, limits.memory, "memory"),
            ("disk", disk, limits.disk, "temporary disk"),
        )
        if limit is not None and amount
    )


def needs_of(job: Job) -> frozenset[str]:
    """See `Request.needs`: of a job that is no set."""
    hosts, sections = named_by(job, harmless=False)
    return _needs(hosts, _entries(job, sections), Item(id="", name="", path=""))


def _entries(job: Job, sections: Iterable[tuple[str, str]]) -> list[tuple[str, Section]]:
    return [(name, job.sections[section][name]) for section, name in sections]


def _needs(hosts: Iterable[str], entries: Iterable[tuple[str, Section]], item: Item) -> frozenset[str]:
    causes = (cause for name, entry in entries for cause in entry.causes(name, item))
    return frozenset((*(f"host {name}" for name in hosts), *causes))


def nodes_at_once(claims: Iterable[Claim], nodes: int) -> int:
    """How many nodes of a child with these claims may run at once: where it takes all of a limit, its disks
    take turns."""
    return min((nodes, *(claim.limit for claim in claims if claim.divided)))


def rounded(size: int) -> int:
    """Up, to a few digits."""
    grain = 1 << max(0, size.bit_length() - _GRAIN)
    return -(-size // grain) * grain
