"""Tables: laid out for the terminal's width on a terminal, plain columns for programs everywhere else."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TextIO

from rich.cells import cell_len

from runner.base.printable import printable

_QUANTITY = re.compile(r"-?\d+(\.\d+)?( ?(%|B|[KMGT]iB|s)(/s)?)?|\d+ (min|h|d) \d+ (s|min|h)|[-–]?", re.ASCII)


def print_table(
    title: str,
    columns: Sequence[str],
    rows: Sequence[Sequence[str]],
    *,
    stream: TextIO,
) -> None:
    """Columns of quantities stand to the right. Off a terminal each row is one line, whatever its length. On
    a terminal that is too narrow no cell is cut: whole columns go below their lines, the widest first."""
    cells = [[printable(cell) for cell in row] for row in rows]
    right = [
        bool(cells) and all(_QUANTITY.fullmatch(row[index]) for row in cells) for index in range(len(columns))
    ]
    if stream.isatty():
        from runner.console.laid_out import LaidOut

        LaidOut(columns, cells, right, stream).print(title)
    else:
        _print_plain(title, columns, cells, right, stream)


def _print_plain(
    title: str, columns: Sequence[str], cells: list[list[str]], right: list[bool], stream: TextIO
) -> None:
    lines = [list(columns), *cells]
    widths = [max(cell_len(line[index]) for line in lines) for index in range(len(columns))]
    text = [printable(title)] if title else []
    for line in lines:
        padded = [_padded(cell, widths[index], right=right[index]) for index, cell in enumerate(line)]
        text.append("  ".join(padded).rstrip())
    stream.write("\n".join([*text, ""]))


def _padded(cell: str, width: int, *, right: bool) -> str:
    space = " " * (width - cell_len(cell))
    return space + cell if right else cell + space
