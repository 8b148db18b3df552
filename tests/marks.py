"""Where what became known of a point stands."""

from __future__ import annotations

from pathlib import Path

from steps.repository import layout


def marks(point: Path) -> Path:
    return Path(layout.marks(str(point)))
