"""open-point: a restore point by its name, and how its disks are read."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import Annotated, Any

from runner.about import About
from runner.findings import Findings, Statement
from runner.model import JobModel, SectionName
from runner.step import Context, Empty, Forecast, Lifetime, Step
from steps import stored, tools
from steps.repository import layout, lookup
from steps.repository.section import locate
from steps.stored import StoredPoint


class OpenPointIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """The repository that has it, an entry of `repositories`"""
    point: str
    """Its name, the beginning of it, or either behind the VM's name (`pgtest1/20261123`), or the path of its directory"""
    disks: tuple[int, ...] = ()
    """Keys of the disks that are wanted; none: all of them"""


class OpenPoint(Step[OpenPointIn, Empty, StoredPoint]):
    """Finds a restore point and the images that its disks are read from. Every image must lie in the repository, on the
    images that the manifests name: a chain that leads anywhere else is refused before any of it is opened."""

    name = "open-point"
    lifetime = Lifetime.KEEP
    read_only = True
    In = OpenPointIn
    Out = StoredPoint
    example = "uses: open-point, with: {repository: main, point: pgtest1/20261123, disks: [2000]}"
    errors = (
        "there is no such point, or several may be meant (they are named)",
        "a point that it is built on is missing",
        "an image lies on another file than the manifests say, or leads out of the repository",
    )

    def run(self, ctx: Context, inputs: OpenPointIn, live: Empty) -> StoredPoint:
        host, root = locate(ctx, inputs.repository)
        tools.require(ctx, host, tools.QEMU_IMG)
        found = stored.read(host, root, lookup.find(host, root, inputs.point), inputs.disks)
        for note in found.notes:
            ctx.warn(f"{found.point}: {note}")
        return found

    def forecast(self, ctx: Context, inputs: OpenPointIn) -> Forecast:
        host, root = locate(ctx, inputs.repository)
        return Forecast(notes=stored.notes(host, lookup.find(host, root, inputs.point)))

    def about(self, told: Mapping[str, Any], out: StoredPoint | None) -> tuple[About, ...]:
        found = [About(name="repository", text=told["repository"])] if "repository" in told else []
        if "point" in told:
            found.append(About(name="restore point", text=told["point"] if out is None else f"{out.path}, of {out.vm}"))
        return tuple(found)

    def findings(self, out: StoredPoint) -> Findings:
        config = posixpath.join(out.path, layout.VM_FILES)
        kept = f"The configuration and NVRAM of {out.vm} are in {config} on {out.host}."
        return Findings(statements=(Statement(about="noted", text=kept),))
