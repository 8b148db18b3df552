"""open-point: a restore point by its name, and how its disks are read."""

from __future__ import annotations

from typing import Annotated

from runner.base.errors import DifferenceError
from runner.base.model import JobModel, SectionName
from runner.events.step_report import Alarm, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.points import places, stored
from steps.points.place import Place
from steps.qemu import img
from steps.repository.section import locate
from steps.values.stored_point import StoredPoint

_ACCEPTED = "`accept_suspect: true` in the job's vars (`--accept-suspect` on the command line) uses it anyway"


class OpenPointIn(JobModel):
    repository: Annotated[str, SectionName("repositories")]
    """The repository that has it, an entry of `repositories`"""
    point: str
    """Its name, any unambiguous prefix of it, or either after the VM's name (`pgtest1/20261123`), or the path
    of its directory; `pgtest1` and `pgtest1/latest` are the VM's newest good one"""
    also: tuple[Annotated[str, SectionName("repositories")], ...] = ()
    """Other repositories that may have it, such as those with copies: the first is taken that can be read and
    where nothing speaks against it"""
    disks: tuple[int, ...] = ()
    """Keys of the disks that are wanted; none: all of them"""
    accept_suspect: bool = False
    """Whether to take it though it is suspect or damaged; else that is an error, before anything is done"""


class OpenPoint(Step[OpenPointIn, Empty, StoredPoint]):
    """Finds a restore point and the images that its disks are read from. Every image must lie in the
    repository, on the images that the manifests name: a chain that leads anywhere else is refused before any
    of it is opened."""

    name = "open-point"
    lifetime = Lifetime.KEEP
    read_only = True
    In = OpenPointIn
    Out = StoredPoint
    tools = (img.QEMU_IMG,)
    example = "uses: open-point, with: {repository: main, point: pgtest1/20261123, disks: [2000]}"
    errors = (
        "there is no such point, or several may be meant (they are named)",
        "a point of its chain is missing",
        "it or a point of its chain is not trusted, and the job does not accept that (exit code 2; the "
        "newest good point is named)",
        "an image's backing file is not the one that the manifests say, or is outside of the repository",
    )

    def check(self, ctx: Context, inputs: OpenPointIn, recorded: StoredPoint | None) -> StoredPoint | None:
        """A run that is resumed stays with its point, whatever the newest is by then; it is looked at
        again."""
        if recorded is None:
            return None
        for place in _places(ctx, inputs):
            if place.host.name == recorded.host and recorded.path.startswith(f"{place.path}/"):
                return _open(place, recorded.path, inputs)
        return None

    def run(self, ctx: Context, inputs: OpenPointIn, live: Empty) -> StoredPoint:
        chosen = places.find(_places(ctx, inputs), inputs.point)
        img.QEMU_IMG.require(ctx, chosen.place.host)
        found = _open(chosen.place, chosen.path, inputs)
        for text in (*chosen.notes, *(f"{found.point}: {note}" for note in found.notes)):
            ctx.warn(text)
        return found

    def preflight(
        self, ctx: Context | None, known: Known[OpenPointIn, StoredPoint]
    ) -> Preflight[StoredPoint]:
        told, out, settings = known.told, known.out, known.settings(repository="repository")
        if also := told.get("also"):
            settings = (*settings, Setting(name="or from", text=", ".join(also)))
        if "point" in told:
            text = told["point"] if out is None else f"{out.path}, of {out.vm}"
            settings = (*settings, Setting(name="restore point", text=text))
        if told.get("accept_suspect"):
            text = "accepted, even if suspect or damaged"
            settings = (*settings, Setting(name="suspect points", text=text))
        return Preflight(settings=settings, notes=() if out is None else out.notes)

    def report(self, out: StoredPoint) -> StepReport:
        alarm = None
        if out.doubts:
            # That somebody accepted it makes it no better: the exit code shows it to later users of the
            # result alone.
            text = f"it is from {out.vm}/{out.point}, which is not trusted: {'; '.join(out.doubts)}"
            alarm = Alarm(
                text=text,
                exit_code=DifferenceError.exit_code,
                brief="from a point that is not trusted",
            )
        return StepReport(alarm=alarm)


def _places(ctx: Context, inputs: OpenPointIn) -> list[Place]:
    """Those that it may be in."""
    names = dict.fromkeys((inputs.repository, *inputs.also))
    return [Place(name, *locate(ctx, name)) for name in names]


def _open(place: Place, path: str, inputs: OpenPointIn) -> StoredPoint:
    """Raises SuspectPointError, and what `stored.read` does."""
    found, standing = stored.weighed(place.host, place.path, path, inputs.disks)
    if not inputs.accept_suspect:
        standing.refuse(_ACCEPTED)
    return found
