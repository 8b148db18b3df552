"""What a run held, released."""

from __future__ import annotations

from runner.base.model import Model


class Cleaned(Model):
    released: tuple[str, ...]
    """In words, each thing that was released."""
