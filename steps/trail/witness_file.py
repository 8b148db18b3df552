"""A witness file: a line for each restore point, kept where nobody can write who can rewrite the
repository."""

from __future__ import annotations

from pathlib import Path

from pydantic import ValidationError

from runner.base.errors import UsageError
from steps.trail.witness import Witnessed


def read(path: Path) -> list[Witnessed]:
    """In the order in which they were written. Raises UsageError."""
    try:
        lines = path.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(Witnessed.model_validate_json(line))
        except ValidationError as error:
            raise UsageError(
                f"{path}:{number} is no witness of a restore point: take the line from a copy of the file, "
                "or take it out"
            ) from error
    return found
