"""Text in Markdown that somebody else renders (CI systems post it on merge requests): names from elsewhere
are data there, never markup, links or HTML."""

from __future__ import annotations

import re

from runner.base.printable import printable

_MARKUP = re.compile(r"([\\`*_{}\[\]<>|#~&])")
"""CommonMark takes any ASCII punctuation literally behind a backslash
(https://spec.commonmark.org/0.31.2/#backslash-escapes); these are the ones that begin something inside of a
line, `|` a cell of a table."""


def plain(text: str) -> str:
    """As text of one line: nothing in it is markup."""
    return _MARKUP.sub(r"\\\1", printable(text))


def code(text: str, *, in_table: bool = False) -> str:
    """To be read to the letter; empty for nothing."""
    text = printable(text)
    if in_table:  # the one character that a table's row splits at even inside code
        text = text.replace("|", r"\|")
    fence = "`" * (max((len(run) for run in re.findall("`+", text)), default=0) + 1)
    pad = " " if text.startswith("`") or text.endswith("`") else ""
    return f"{fence}{pad}{text}{pad}{fence}" if text else ""
