"""The section `repositories` of a job file."""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Sequence
from typing import Annotated

from pydantic import Field, field_validator

from runner.base.model import HOW, Duration, HostName, JobModel, Size
from runner.base.units import GiB, MiB, human_bytes
from runner.hosts.host import Host
from runner.hosts.state_place import StatePlace
from runner.step.context import Context
from runner.step.items import UNCOUNTED, Claim, Item, Room
from runner.step.section import Section
from steps.repository import layout, marker


class RepositoryLimits(JobModel):
    """How much runs take at once; what is over waits."""

    disks: Annotated[int, Field(ge=1)] | None = None
    """Disks that are written to this repository, or copied from it into another one."""


class BrakeLimits(JobModel):
    """When a night counts as one in which something is wrong: retention then deletes nothing of that VM."""

    times: Annotated[float, Field(gt=1)] = 10
    """How many times what its last nights changed, by their median."""
    least: Size = GiB
    """Bytes: with less changed it is no such night."""
    incompressible: Annotated[float, Field(gt=0, le=1)] = 0.9
    """The share of what changed on a disk that looks encrypted, where little of what changed before did."""
    set_share: Annotated[float, Field(gt=0, le=1)] = 0.5
    """The share of a set's VMs: where more of them than that change so many times as much, nothing is deleted
    of any; 1: whatever they do."""
    set_least: Size = 256 * MiB
    """As `least`, of each VM that counts for its set."""
    quiet: Annotated[int, Field(ge=1)] = 3
    """Days in a row whose restore points are as others, after which it is released by itself."""


class Repository(Section):
    """``{host: store, path: /backup/repository}``"""

    host: HostName
    """The host that has it."""
    path: str
    """Absolute, on `host`."""

    def writes(self) -> StatePlace:
        return StatePlace(self.host, self.path)

    limits: Annotated[RepositoryLimits, HOW] = RepositoryLimits()
    """What it bears at once, of all runs that name the same `slots`."""
    min_free: Annotated[Size | None, HOW] = None
    """Bytes that stay free: a VM is begun if what those that run are expected to write leaves that and its
    own share."""

    lock: Annotated[Duration | None, HOW] = None
    """How long after it was published a restore point cannot be changed or deleted, by anybody but root of
    the host: a timer there holds to it, see `sendense lock-timer`."""
    brake: Annotated[BrakeLimits | None, HOW] = BrakeLimits()
    """When retention deletes nothing of a VM because it changes as if it were being encrypted; null:
    never."""

    @property
    def limited(self) -> str:
        return "limits" if self.limits.disks is not None else "min-free" if self.min_free is not None else ""

    def claims(self, ctx: Context, name: str, item: Item) -> tuple[Claim, ...]:
        """By the uuid in its marker. Raises NotARepositoryError."""
        if not self.limited:
            return ()
        resource, found = f"repository {self._uuid(ctx, name)}", []
        if self.limits.disks is not None:
            what = f"disks written to repository {name} at once"
            found.append(Claim.share(f"{resource} disks", item.disks, self.limits.disks, what))
        if self.min_free is not None:
            what = f"room in repository {name}, of which {human_bytes(self.min_free)} stay free"
            found.append(Claim(f"{resource} room", 0, UNCOUNTED, what, writes=True))
        return tuple(found)

    def rooms(self, ctx: Context, name: str, items: Sequence[Item]) -> tuple[Room, ...]:
        if (least := self.min_free) is None:
            return ()

        def measure(living: Collection[str]) -> float:
            host = ctx.host(self.host)
            marker.require(host, self.path)
            return host.free_bytes(self.path) - least

        return (Room(f"repository {self._uuid(ctx, name)} room", measure),)

    def _uuid(self, ctx: Context, name: str) -> str:
        key = ("uuid of repository", name)
        return ctx.once(key, lambda: marker.require(ctx.host(self.host), self.path).uuid)

    def state_place(self) -> StatePlace:
        """Beside the VMs' directories, where no list of points looks."""

        def ready(host: Host) -> None:
            marker.require(host, self.path)

        return StatePlace(self.host, posixpath.join(self.path, layout.STATE), ready)

    @field_validator("path")
    @classmethod
    def _plain(cls, value: str) -> str:
        if not value.startswith("/") or ".." in value.split("/") or not value.isprintable():
            raise ValueError("write an absolute path without '..', such as /backup/repository")
        path = "/" + posixpath.normpath(value).lstrip("/")
        if path == "/":
            raise ValueError("the root directory cannot be a repository; write a directory below it")
        return path


def locate(ctx: Context, name: str) -> tuple[Host, str]:
    """The host of the job's repository `name`, and its path there."""
    repository: Repository = ctx.section("repositories", name)
    return ctx.host(repository.host), repository.path


def brake_of(ctx: Context, name: str) -> BrakeLimits | None:
    """Of the job's repository `name`."""
    repository: Repository = ctx.section("repositories", name)
    return repository.brake
