"""A table on a terminal, in its width."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from runner.base.printable import printable
from runner.console.screen import Screen

SHORT = 24  # cells; a column of no more is never broken over lines, and none is made narrower
GAP = 2  # cells between two columns
INDENT = 4  # cells before what stands below its line


class LaidOut:
    def __init__(
        self, columns: Sequence[str], cells: list[list[str]], right: list[bool], stream: TextIO
    ) -> None:
        self._columns = columns
        self._cells = cells
        self._right = right
        self._console = Screen(stream)
        self._natural = {
            index: max(map(cell_len, (column, *(row[index] for row in cells))))
            for index, column in enumerate(columns)
        }

    def print(self, title: str) -> None:
        if title:
            self._console.print(Text(printable(title), style="bold"))
        widths = self._widths()
        below = [index for index in self._natural if index not in widths]
        self._line(self._columns, widths, dict.fromkeys(widths, "dim"))
        for row in self._cells:
            self._line(row, widths, {0: "bold"})
            for line in self._packed([self._told(index, row[index]) for index in below if row[index]]):
                self._console.print(Padding(Text(line), (0, 0, 0, INDENT)))

    def _widths(self) -> dict[int, int]:
        """Of the columns that stand side by side, the width of each; the others go below their lines."""
        beside = dict(self._natural)
        while (widths := _fitted(beside, self._console.width)) is None:
            # The first column names the line, so it stays beside whatever is left.
            others = [index for index in beside if index]
            if not others:
                return {0: self._console.width}
            del beside[max(others, key=lambda index: (beside[index], index))]
        return widths

    def _line(self, row: Sequence[str], widths: Mapping[int, int], styles: Mapping[int, str]) -> None:
        line = Table.grid(padding=(0, GAP, 0, 0), pad_edge=False)
        for index, width in widths.items():
            line.add_column(width=width, justify="right" if self._right[index] else "left", overflow="fold")
        line.add_row(*(Text(row[index], style=styles.get(index, "")) for index in widths))
        self._console.print(line)

    def _told(self, index: int, cell: str) -> str:
        return f"{self._columns[index]}: {cell}" if self._columns[index] else cell

    def _packed(self, parts: Sequence[str]) -> list[str]:
        """As many of them in a line as it has room for."""
        lines: list[str] = []
        for part in parts:
            joined = f"{lines[-1]}   {part}" if lines else part
            if lines and cell_len(joined) <= self._console.width - INDENT:
                lines[-1] = joined
            else:
                lines.append(part)
        return lines


def _fitted(natural: Mapping[int, int], room: int) -> dict[int, int] | None:
    """The width of each column, so that the long ones share what the short ones leave; None where that is too
    little."""
    room -= GAP * (len(natural) - 1)
    fitted = {}
    # The narrowest first: what it does not take of its share is there for the wider ones.
    for position, (index, width) in enumerate(sorted(natural.items(), key=lambda column: column[1])):
        given = min(width, room // (len(natural) - position))
        if given < min(width, SHORT):
            return None
        fitted[index] = given
        room -= given
    return dict(sorted(fitted.items()))
