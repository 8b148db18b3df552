"""copy-new-point: after a backup, its VM's restore points are copied into other repositories, where that is
due."""

from __future__ import annotations

import posixpath
from typing import Annotated

from runner.base.errors import Interrupted, SendenseError, is_transient
from runner.base.model import JobModel, Model, SectionName
from runner.base.waiting import again
from runner.events.events import NodeRetrying
from runner.events.step_report import Statement, StepReport
from runner.step.context import Context
from runner.step.preflight import Known, Preflight
from runner.step.setting import Setting
from runner.step.step import Empty, Lifetime, Step
from steps.copies import missing
from steps.copies.point import Copying
from steps.copies.repacked import CannotCompressError, require_zstd
from steps.points.place import Place
from steps.qemu import img
from steps.repository import reader
from steps.repository.section import locate
from steps.values.cleaned import Cleaned
from steps.values.copy_rule import CopyRule
from steps.values.published import Published

RETRIES = 8
LONGEST_WAIT = 60.0
"""Seconds, in a row without progress, as `template: copy` has them: three minutes, in which a repository host
can reboot."""


class CopyNewPointIn(JobModel):
    point: Published
    """The point that the backup has made"""
    repository: Annotated[str, SectionName("repositories")]
    """The repository that it is in, an entry of `repositories`"""
    rules: tuple[CopyRule, ...]
    """Where its VM's points are copied to, and how often"""
    cleaned: Cleaned
    """What was released before: a run whose snapshot stays is not kept busy by copies"""


class NewPointCopied(Model):
    copied: tuple[str, ...] = ()
    """A sentence each, without a full stop"""
    trouble: tuple[str, ...] = ()
    """What kept points from being copied, as well"""


class CopyNewPoint(Step[CopyNewPointIn, Empty, NewPointCopied]):
    """Copies what other repositories lack of the VM's good points. It is the end of a backup that is good
    already: a copy that fails is a warning, and the next run makes up for it."""

    name = "copy-new-point"
    harmless = True
    lifetime = Lifetime.KEEP
    In = CopyNewPointIn
    Out = NewPointCopied
    tools = (img.QEMU_IMG,)
    example = (
        'uses: copy-new-point, with: {point: "${{ publish }}", repository: main, rules: [{to: offsite, when: '
        'weekly}], cleaned: "${{ cleanup }}"}, when: always'
    )
    errors = ("none: what keeps it from its work is a warning",)

    def check(
        self, ctx: Context, inputs: CopyNewPointIn, recorded: NewPointCopied | None
    ) -> NewPointCopied | None:
        return recorded

    def run(self, ctx: Context, inputs: CopyNewPointIn, live: Empty) -> NewPointCopied:
        copied: list[str] = []
        trouble: list[str] = []
        for rule in inputs.rules:
            if ctx.stop.is_set():
                break
            try:
                copied += _resuming(ctx, inputs, rule)
            except Interrupted:
                break  # the backup is done; the next run copies
            except SendenseError as error:
                trouble.append(f"not all of {inputs.point.vm} was copied to {rule.to}: {error.message}")
                ctx.warn(trouble[-1])
        return NewPointCopied(copied=tuple(copied), trouble=tuple(trouble))

    def preflight(
        self, ctx: Context | None, known: Known[CopyNewPointIn, NewPointCopied]
    ) -> Preflight[NewPointCopied]:
        rules = known.told.get("rules")
        if not rules:
            return Preflight()
        text = ", ".join(f"in {rule.to}, {rule.when}" for rule in rules)
        settings = (Setting(name="copies", text=text),)
        if ctx is None or known.out is not None:
            return Preflight(settings=settings)
        compressed = dict.fromkeys(rule.to for rule in rules if rule.compress is not None)
        # A copy that fails is a warning, and so is this: it keeps no backup from beginning.
        problems = tuple(why for to in compressed if (why := _why_not_compressed(ctx, to)))
        return Preflight(settings=settings, problems=problems)

    def report(self, out: NewPointCopied) -> StepReport:
        made = (Statement(about="made", text=f"{text}.") for text in out.copied)
        return StepReport(
            statements=(*made, *(Statement(about="noted", text=f"{one}.") for one in out.trouble))
        )


def _resuming(ctx: Context, inputs: CopyNewPointIn, rule: CopyRule) -> list[str]:
    """As `_copy`. What was begun resumes inside the image, since the next run would copy it from the start.
    What could not even begin is left to that: a host that is down must not hold up the run of every VM."""
    begun = False
    ctx.advanced.clear()

    def has_advanced() -> bool:
        nonlocal begun
        found = ctx.advanced.is_set()
        begun = begun or found
        ctx.advanced.clear()
        return found

    def attempt(number: int) -> list[str]:
        # The lock there ends with it: as long as it is held, nothing is written on any host without it.
        with ctx.scope():
            return _copy(ctx, inputs, rule)

    def tell(error: BaseException, wait: float, number: int) -> None:
        ctx.emit(NodeRetrying(node=ctx.node, error=str(error), wait=wait, attempt=number))

    return again(
        attempt,
        on=lambda error: is_transient(error) and (begun or ctx.advanced.is_set()),
        stop=ctx.stop,
        attempts=1 + RETRIES,
        longest=LONGEST_WAIT,
        advanced=has_advanced,
        before_pause=tell,
    )


def _copy(ctx: Context, inputs: CopyNewPointIn, rule: CopyRule) -> list[str]:
    """What was copied, in sentences."""
    source, to = (Place(name, *locate(ctx, name)) for name in (inputs.repository, rule.to))
    directory = posixpath.dirname(inputs.point.path)
    vm = reader.read(source.host, directory)
    there = reader.read(to.host, posixpath.join(to.path, vm.name))
    new = vm.chains.by_name.get(inputs.point.point)
    copied = None if there.newest is None else there.newest.moment
    origin = None if there.newest is None else there.newest.manifest.copied
    resumed = origin is not None and origin.run == ctx.run.id
    if new is None or not (resumed or rule.is_due(copied, new.moment)):
        return []
    due, left = missing.of_vm(vm, there, rule)
    for text in left:
        ctx.warn(text)
    points = Copying(ctx, source, to, due, rule).run()
    return [f"Copy of {vm.vm_name}/{point.point} in {rule.to}" for point in points]


def _why_not_compressed(ctx: Context, to: str) -> str:
    """Empty where it can be, and where nobody can tell now."""
    host, _ = locate(ctx, to)

    def look() -> str:
        try:
            require_zstd(ctx, host)
        except CannotCompressError as error:
            return error.message
        except Interrupted:
            raise
        except SendenseError:
            return ""  # a second host that is away today is told by the copy
        return ""

    return ctx.looked(("zstd", host.name), look)
