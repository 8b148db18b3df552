"""Children that take a moment, as a package that is installed for the processes of a test: each works at its item in
slices, and makes one point."""

from __future__ import annotations

import fcntl
import json
import os
import sys
from pathlib import Path

from runner.base.errors import Interrupted, SendenseError
from runner.base.model import JobModel
from runner.sets.placement import Order
from runner.step.context import Context
from runner.step.step import Empty, Lifetime, Step
from tests.runner.toys import Hold

ROOT = Path(__file__).parents[2]

SLICE = 0.03
"""Seconds."""


class WorkIn(JobModel):
    root: str
    slices: int


class Work(Step[WorkIn, Empty, Empty]):
    """Works, and resumes where it stopped; never two at once."""

    name, lifetime, In, Out, example = "work", Lifetime.KEEP, WorkIn, Empty, ""

    def run(self, ctx: Context, inputs: WorkIn, live: Empty) -> Empty:
        done = Path(inputs.root) / "done"
        with (Path(inputs.root) / "alone").open("w") as alone:
            try:
                fcntl.flock(alone, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as error:
                raise SendenseError("two work at one item at once") from error
            alone.write(str(os.getpid()))
            alone.flush()
            while (count := done.stat().st_size if done.exists() else 0) < inputs.slices:
                if ctx.stop.wait(SLICE):
                    raise Interrupted
                with done.open("a") as file:
                    file.write(".")
                ctx.progress("item", "copied", count + 1, inputs.slices)
        return Empty()


class PointIn(JobModel):
    root: str


class Point(Step[PointIn, Empty, Empty]):
    """Makes a point: each run its own."""

    name, lifetime, In, Out, example, commits = "point", Lifetime.KEEP, PointIn, Empty, "", True

    def check(self, ctx: Context, inputs: PointIn, recorded: Empty | None) -> Empty | None:
        return Empty() if self._file(ctx, inputs).exists() else None

    def run(self, ctx: Context, inputs: PointIn, live: Empty) -> Empty:
        self._file(ctx, inputs).touch()
        return Empty()

    def _file(self, ctx: Context, inputs: PointIn) -> Path:
        return Path(inputs.root) / f"point-{ctx.run.id}"


STEPS = {"hold": Hold, "work": Work, "point": Point}


def environment(directory: Path) -> dict[str, str]:
    """That in which processes find the steps."""
    info = directory / "packages" / "toys-1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toys\nVersion: 1\n")
    steps = "\n".join(f"{name} = {kind.__module__}:{kind.__name__}" for name, kind in STEPS.items())
    (info / "entry_points.txt").write_text(f"[sendense.steps]\n{steps}\n")
    return {
        **os.environ,
        "PYTHONPATH": f"{info.parent}:{ROOT}",
        "XDG_STATE_HOME": str(directory / "state"),
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }


def order(root: Path, *, slices: int, host: str = "") -> Order:
    """For the item whose directory `root` is."""
    base = {"root": str(root)}
    steps = [
        {"id": "hold", "uses": "hold", "with": base},
        {"id": "work", "uses": "work", "with": {**base, "slices": slices}, "needs": ["hold"]},
        {"id": "point", "uses": "point", "with": base, "needs": ["work"]},
    ]
    name = f"toys/{root.name}"
    return Order(
        id=f"night-{root.name}",
        key=f"toys@{root.name}",
        called=root.name,
        name=name,
        set="toys",
        item=root.name,
        job=json.dumps({"version": 1, "name": name, "steps": steps}),
        file="toys.yaml",
        digest="00",
        digests={"toys.yaml": "00"},
        nodes=2,
        host=host,
    )
