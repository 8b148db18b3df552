"""What other packages bring by entry points: commands, steps, sections."""

from __future__ import annotations

from importlib.metadata import EntryPoint
from typing import Any

from runner.base.errors import SendenseError

OURS = "sendense"
"""The distribution whose errors are bugs, and tracebacks."""


class BrokenPluginError(SendenseError):
    fix_first = True

    def __init__(self, entry: EntryPoint, package: str, error: Exception) -> None:
        kind = entry.group.rpartition(".")[2].removesuffix("s")
        super().__init__(
            f"the {kind} {entry.name} of the package {package} cannot be loaded ({type(error).__name__}: "
            f"{error}): update that package, or uninstall it"
        )


def load(entry: EntryPoint) -> Any:
    """What it names. Raises BrokenPluginError."""
    try:
        return entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        package = OURS if entry.dist is None else entry.dist.name
        if package == OURS:
            raise
        raise BrokenPluginError(entry, package, error) from error
