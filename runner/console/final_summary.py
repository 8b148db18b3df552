"""The last lines of a run: what went wrong, what was made, what is retained; the very last one says the
outcome."""

from __future__ import annotations

import textwrap
from typing import TextIO

from rich.text import Text

from runner.base.printable import printable
from runner.console.screen import Screen
from runner.console.tables import print_table
from runner.events.fold import Fold
from runner.events.step_report import Cell
from runner.events.summary import RunSummary, Table
from runner.report.labels import failures, verdict

NOTES = 5  # a VM of sixty disks has as many


def print_ending(summary: RunSummary, stream: TextIO, *, quiet: bool = False, told: bool = False) -> None:
    """The outcome is the last line; `quiet`: with nothing but troubles before it. `told`: whether what went
    wrong in a node was told when it did."""
    _Ending(summary, stream, quiet=quiet, told=told).print()


def print_troubles(fold: Fold, stream: TextIO) -> None:
    """For a command that ended without the end of a run: what a live display showed and took with it."""
    console = Screen(stream)
    lines = [(f"! {warning.node}: {warning.text}", "yellow") for warning in fold.warnings]
    lines += [(f"✗ {node.node}: {node.error}", "red") for node in fold.nodes.values() if node.error]
    lines += [(f"✗ cleanup of {undo.node} failed: {undo.error}", "red") for undo in fold.undo_failures]
    for text, style in lines:
        console.print(Text(printable(text), style=style), soft_wrap=True)


class _Ending:
    def __init__(self, summary: RunSummary, stream: TextIO, *, quiet: bool, told: bool) -> None:
        self._summary = summary
        self._stream = stream
        self._quiet = quiet
        self._told = told
        self._console = Screen(stream)

    def print(self) -> None:
        if not self._quiet:
            self._line()
        self._troubles()
        if not self._quiet and self._summary.outcome in ("done", "alarm"):
            self._what_was_made()
        if not self._quiet:
            self._pictures()
        self._held()
        told = verdict(self._summary)
        # One line whatever the width: there is a command in it.
        self._line(f"{told.ending.mark} {told.line}", f"bold {told.ending.colour}")

    def _troubles(self) -> None:
        if not self._told:
            for warning in self._summary.warnings:
                self._say(f"! {warning.node}: {warning.text}", "yellow")
        for failure in failures(self._summary, told=self._told):
            self._say(f"{failure.mark} {failure.name}: {failure.text}", "red")

    def _what_was_made(self) -> None:
        # Of what was verified the last line and the tables tell, the report has the sentences.
        said = [
            each.text
            for about in ("made", "noted")
            for each in self._summary.statements
            if each.about == about
        ]
        # One more than that has the line which would tell of it.
        shown = said if len(said) <= NOTES + 1 else said[:NOTES]
        for text in shown:
            self._say(f"  {text}")
        if left := len(said) - len(shown):
            self._say(f"  {left} more notes are in the report (--report DIR)")
        for table in filter(None, map(_short, self._summary.tables)):
            self._line()
            self._table(table)
        commands = [command for command in self._summary.commands if not command.detail]
        for purpose in dict.fromkeys(command.purpose for command in commands):
            self._line()
            self._say(f"{purpose}:")
            for command in commands:
                if command.purpose == purpose:
                    self._line(f"  {command.line}", "cyan")
        if said or self._summary.tables or commands:
            self._line()

    def _pictures(self) -> None:
        for node in self._summary.nodes:
            for picture in node.pictures:
                self._line(f"  Picture of {node.node}: {picture.file}")

    def _held(self) -> None:
        if not self._summary.held:
            return
        self._line("Retained until the run completes or is discarded:", "bold")
        for held in self._summary.held:
            self._say(f"  {held.what}")
            self._line(f"    to release it: {held.command}", "cyan")

    def _table(self, table: Table) -> None:
        rows = [
            (key, *(cells.get(column, Cell(value="")).text() for column in table.columns))
            for key, cells in table.rows
        ]
        print_table(table.title, ("", *table.columns), rows, stream=self._stream)

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


def _short(table: Table) -> Table | None:
    """Without what is for reports only; None where nothing is left."""
    left_out = {
        column for _, cells in table.rows for column, cell in cells.items() if cell.long or cell.detail
    }
    columns = tuple(column for column in table.columns if column not in left_out)
    return table.model_copy(update={"columns": columns}) if columns else None
