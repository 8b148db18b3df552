"""What a step's output means to a person, in words and cells that a report can show without knowing the step.

A step says it in `Step.report(out)`. Rows of the same table and key, given by several nodes, become one
line: of one disk, `transfer` knows how much was read, and `verify` knows how much was compared.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from pydantic import JsonValue

from runner.base.model import Model
from runner.base.units import human_bytes, human_seconds
from runner.events.result import Result

Unit = Literal["bytes", "bytes/s", "seconds", "count", "text", "digest", "path"]


class Cell(Model):
    """One value of a table; `unit` says how it is shown (right or left, human or to the letter)."""

    value: int | float | str
    unit: Unit = "text"
    detail: bool = False
    """For reports only: a terminal does without its column, as without those of digests and paths."""

    @property
    def numeric(self) -> bool:
        return self.unit in ("bytes", "bytes/s", "seconds", "count")

    @property
    def long(self) -> bool:
        """Too wide for a column: to be shown below its line, or cut."""
        return self.unit in ("digest", "path")

    def text(self) -> str:
        if isinstance(self.value, str):
            return self.value
        match self.unit:
            case "bytes":
                return human_bytes(self.value)
            case "bytes/s":
                return f"{human_bytes(self.value)}/s"
            case "seconds":
                return human_seconds(self.value)
            case _:
                return str(self.value)


class Row(Model):
    """A part of one line: the cells this node knows, by column heading, in order."""

    table: str
    """Its title, in the plural: ``Disks``."""
    key: str
    cells: dict[str, Cell]


class Statement(Model):
    """A sentence. `made`: exists now and did not before. `verified`: what was compared with what. `noted`:
    what a user of the result must know. `how`: how it came about, for reports only."""

    about: Literal["made", "verified", "noted", "how"]
    text: str


class Command(Model):
    """A command line for a person, ready to paste."""

    purpose: str
    """What it is for, without a full stop: ``Restore disk 2000 without this program``."""
    line: str
    """``JOB`` in it, a word of its own, stands for the run's job file."""
    detail: bool = False
    """For reports only: one a disk."""


class Picture(Model):
    """For reports that can show one."""

    caption: str
    """A sentence without a full stop."""
    file: str
    """Absolute path of a PNG, as `Context.picture` returned it: on the machine that ran the node, beside the
    run's events. A report that does not find it says so."""


class Alarm(Model):
    """The work is done and good, and all the same something was found that somebody must look at: the run
    ends with `exit_code`, not 0, and `text`, a sentence without a full stop, which names all that it is
    about."""

    text: str
    exit_code: int
    brief: str
    """The same in a few words, to come last in the last line; after the number of `subjects` where there are
    some: ``no longer trusted``."""
    subjects: tuple[str, ...] = ()
    """What it is about, by name: ``20261123T170000Z-3f9a``."""
    noun: str = ""
    """What they are, in the singular: ``point``."""


class StepReport(Model):
    rows: tuple[Row, ...] = ()
    statements: tuple[Statement, ...] = ()
    commands: tuple[Command, ...] = ()
    pictures: tuple[Picture, ...] = ()
    alarm: Alarm | None = None
    result: Result | None = None


ReportOf = Callable[[str, Mapping[str, JsonValue]], StepReport]
"""``report_of(step, output)``; `Registry.report` is the one of the installed steps."""
