"""Values in systemd's unit files."""

from __future__ import annotations

import re


def literal(text: str) -> str:
    """As systemd.unit(5) reads a value that is no list of words."""
    return text.replace("%", "%%")


def word(text: str) -> str:
    """As one of a list of words, systemd.syntax(7)."""
    kept = literal(text)
    if re.fullmatch(r"[\w%+=:,./@$-]+", kept, re.ASCII):
        return kept
    return '"' + kept.replace("\\", r"\\").replace('"', r"\"") + '"'
