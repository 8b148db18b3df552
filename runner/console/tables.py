"""Tables: laid out for the terminal's width on a terminal, plain columns for programs everywhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len
from rich.console import Console as RichConsole
from rich.table import Table
from rich.text import Text

from runner.words import printable

SHORT = 24  # cells; a column of no more is never broken over lines

_QUANTITY = re.compile(r"-?\d+(\.\d+)?( ?(%|B|[KMGT]iB|s)(/s)?)?|\d+ (min|h|d) \d+ (s|min|h)|[-–]?", re.ASCII)


def print_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], *, stream: TextIO) -> None:
    """Columns of quantities stand to the right. Off a terminal each row is one line, whatever its length."""
    cells = [[printable(cell) for cell in row] for row in rows]
    right = [bool(cells) and all(_QUANTITY.fullmatch(row[index]) for row in cells) for index in range(len(columns))]
    if stream.isatty():
        _print_laid_out(title, columns, cells, right, stream)
    else:
        _print_plain(title, columns, cells, right, stream)


def _print_laid_out(
    title: str, columns: Sequence[str], cells: list[list[str]], right: list[bool], stream: TextIO
) -> None:
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", pad_edge=False)
    for index, column in enumerate(columns):
        width = max((cell_len(row[index]) for row in cells), default=0)
        table.add_column(
            Text(column),
            justify="right" if right[index] else "left",
            no_wrap=width <= SHORT,
            overflow="fold",
            style="bold" if index == 0 else "",
        )
    for row in cells:
        table.add_row(*(Text(cell) for cell in row))
    console = RichConsole(file=stream, highlight=False)
    if title:
        console.print(Text(printable(title), style="bold"))
    console.print(table)


def _print_plain(title: str, columns: Sequence[str], cells: list[list[str]], right: list[bool], stream: TextIO) -> None:
    lines = [list(columns), *cells]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    if title:
        stream.write(f"{printable(title)}\n")
    for line in lines:
        padded = [_padded(cell, widths[index], right=right[index]) for index, cell in enumerate(line)]
        stream.write("  ".join(padded).rstrip() + "\n")


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if right else cell + space
