"""What is left of a name that people chose where it becomes part of a path."""

from __future__ import annotations

import re
import unicodedata

SLUG_LENGTH = 40
"""Leaves room for a uuid and more in a name of 255 bytes, and in a terminal's line."""


def slug(name: str) -> str:
    """ASCII letters, digits, ``.``, ``_`` and ``-``, at most 40, the first a letter or digit; ``vm`` if
    nothing is left. Different names may give one slug: a uuid stands beside it where that matters."""
    plain = unicodedata.normalize("NFKD", name).encode("ascii", "ignore").decode()
    safe = re.sub(r"[^A-Za-z0-9._]+|\.{2,}", "-", plain)
    return re.sub(r"-{2,}", "-", safe).strip("-._")[:SLUG_LENGTH].strip("-._") or "vm"
