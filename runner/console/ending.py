"""The last lines of a run: what failed, what is held, how to go on; or what was made."""

from __future__ import annotations

import textwrap
from typing import TextIO

from rich.text import Text

from runner.console.screen import Screen
from runner.console.tables import print_table
from runner.findings import Cell
from runner.printable import printable
from runner.summary import Fold, RunSummary, Table
from runner.units import human_seconds
from runner.words import failures, verdict

NOTES = 5  # a VM of sixty disks has as many
DIGEST_LENGTH = 16  # hex digits of a digest that a terminal has room for; logs and reports show all


def print_ending(summary: RunSummary, stream: TextIO) -> None:
    _Ending(summary, stream).print()


def print_troubles(fold: Fold, stream: TextIO) -> None:
    """For a command that ended without the end of a run: what a live display showed and took with it."""
    console = Screen(stream)
    lines = [(f"! {warning.node}: {warning.text}", "yellow") for warning in fold.warnings]
    lines += [(f"✗ {node.node}: {node.error}", "red") for node in fold.nodes.values() if node.error]
    lines += [(f"✗ {undo.node} could not be taken back: {undo.error}", "red") for undo in fold.undo_failures]
    for text, style in lines:
        console.print(Text(printable(text), style=style), soft_wrap=True)


class _Ending:
    def __init__(self, summary: RunSummary, stream: TextIO) -> None:
        self._summary = summary
        self._stream = stream
        self._console = Screen(stream)

    def print(self) -> None:
        told = verdict(self._summary)
        self._line()
        took = human_seconds(self._summary.seconds)
        self._say(f"{told.ending.mark} {told.sentence} It took {took}.", f"bold {told.ending.colour}")
        for warning in self._summary.warnings:
            self._say(f"! {warning.node}: {warning.text}", "yellow")
        if self._summary.outcome in ("done", "alarm"):
            self._what_was_made()
        else:
            self._what_to_do()

    def _what_was_made(self) -> None:
        # Of what was verified the tables have a column, the report the sentences; unless that was all there was to do.
        said = self._summary.statements
        made = [each.text for each in said if each.about == "made"] or [e.text for e in said if e.about == "verified"]
        noted = [each.text for each in self._summary.statements if each.about == "noted"]
        shown = noted if len(noted) <= NOTES + 1 else noted[:NOTES]  # one more has the line that would tell of it
        for text in made + shown:
            self._say(f"  {text}")
        if left := len(noted) - len(shown):
            self._say(f"  {left} more notes are in the report (--report DIR)")
        for table in self._summary.tables:
            self._line()
            self._table(table)
        for purpose in dict.fromkeys(command.purpose for command in self._summary.commands):
            self._line()
            self._say(f"{purpose}:")
            for command in self._summary.commands:
                if command.purpose == purpose:
                    self._line(f"  {command.line}", "cyan")

    def _what_to_do(self) -> None:
        for failure in failures(self._summary):
            self._say(f"  {failure.name}: {failure.text}", "red")
        if self._summary.held:
            self._line()
            self._line("Held, until the run is done or let go of:", "bold")
        for held in self._summary.held:
            self._say(f"  {held.what}")
            self._line(f"    to let go of it: {held.command}", "cyan")
        if self._summary.resume_command:
            self._line()
            self._line(f"To go on where it stopped: {self._summary.resume_command}", "bold")

    def _table(self, table: Table) -> None:
        rows = [
            (key, *(self._cell(cells.get(column, Cell(value=""))) for column in table.columns))
            for key, cells in table.rows
        ]
        long = {column for _, cells in table.rows for column, cell in cells.items() if cell.long}
        print_table(table.title, ("", *table.columns), rows, stream=self._stream, first_below=long)

    def _cell(self, cell: Cell) -> str:
        text = cell.text()
        cut = cell.unit == "digest" and self._stream.isatty() and len(text) > DIGEST_LENGTH
        return f"{text[:DIGEST_LENGTH]}…" if cut else text

    def _say(self, text: str, style: str = "") -> None:
        """A sentence, broken between words where a terminal would break it anywhere."""
        if not self._stream.isatty():
            self._line(text, style)
            return
        indent = " " * (len(text) - len(text.lstrip(" !")) + 2)
        for line in textwrap.wrap(
            printable(text),
            self._console.width,
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        ):
            self._line(line, style)

    def _line(self, text: str = "", style: str = "") -> None:
        """A line as it is: a command that is wrapped by the terminal is still copied whole."""
        self._console.print(Text(printable(text), style=style), soft_wrap=True)
