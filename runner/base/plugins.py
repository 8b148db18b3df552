"""What other packages bring by entry points: commands, steps, sections."""

from __future__ import annotations

import sys
from functools import cache
from importlib.metadata import EntryPoint, entry_points
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


def installed(group: str) -> dict[str, EntryPoint]:
    """Of all packages that Python finds now, by name in order."""
    return _installed(group, tuple(sys.path))


@cache
def _installed(group: str, path: tuple[str, ...]) -> dict[str, EntryPoint]:
    found = _everything(path).select(group=group)
    return {entry.name: entry for entry in sorted(found, key=lambda entry: entry.name)}


@cache
def _everything(path: tuple[str, ...]) -> Any:
    """The entry points of all groups (of another class in each version of Python): to look through all
    packages takes 8 ms, and as long for one group."""
    # `path`: what is found along one is not what is found along another.
    return entry_points()


def load(entry: EntryPoint) -> Any:
    """What it names. Raises BrokenPluginError."""
    try:
        return entry.load()
    except (ImportError, AttributeError, SyntaxError) as error:
        package = OURS if entry.dist is None else entry.dist.name
        if package == OURS:
            raise
        raise BrokenPluginError(entry, package, error) from error
