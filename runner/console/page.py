"""A page of the documentation, which is Markdown: laid out on a terminal, as it is everywhere else."""

from __future__ import annotations

from typing import TextIO

from rich.markdown import Markdown

from runner.console.screen import Screen

WIDEST = 100
"""Columns: longer lines are hard to read."""


def print_page(text: str, stream: TextIO) -> None:
    if not stream.isatty():
        stream.write(text)
        return
    screen = Screen(stream)
    # "ansi_dark" takes the terminal's own sixteen colours, which can be read on a light ground too.
    screen.print(Markdown(text, code_theme="ansi_dark"), width=min(WIDEST, screen.width))
