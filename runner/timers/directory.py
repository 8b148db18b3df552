"""The units in a directory: which are to be written, and which are of jobs that have gone."""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from runner.base.errors import UsageError
from runner.hosts import files
from runner.timers.units import JOB, MARKER, PREFIX

MODE = 0o644
"""systemd and its users read units; no secret is in any."""


@dataclass(frozen=True)
class Change:
    """Of one unit file; None: it is not there before, or not afterwards."""

    path: Path
    before: str | None
    after: str | None

    @property
    def what(self) -> str:
        return "removed" if self.after is None else "written" if self.before is None else "changed"

    def diff(self) -> Iterator[str]:
        """Lines of a unified diff."""
        old, new = ("/dev/null" if text is None else str(self.path) for text in (self.before, self.after))
        before, after = ((text or "").splitlines() for text in (self.before, self.after))
        return difflib.unified_diff(before, after, old, new, lineterm="")

    def carry_out(self) -> None:
        """Raises HostError."""
        with files.translate_os_errors(files.THIS_MACHINE, str(self.path)):
            if self.after is None:
                self.path.unlink(missing_ok=True)
            else:
                files.write(str(self.path), self.after.encode(), mode=MODE)


def changes(directory: Path, wanted: Mapping[str, str], jobs: frozenset[str]) -> list[Change]:
    """What makes the directory have the units `wanted` (file name → content) of the job files `jobs`. Of
    what else is there only units go that were written here and whose job file is one of `jobs`, or gone.
    Raises UsageError for a unit of that name that somebody else wrote, HostError."""
    with files.translate_os_errors(files.THIS_MACHINE, str(directory)):
        names = sorted({*wanted, *(path.name for path in directory.iterdir() if _may_be_ours(path.name))})
    found = [_change(directory / name, wanted.get(name), jobs) for name in names]
    return [change for change in found if change.before != change.after]


def _may_be_ours(name: str) -> bool:
    return name.startswith(PREFIX) and name.endswith((".timer", ".service"))


def _change(path: Path, after: str | None, jobs: frozenset[str]) -> Change:
    before = _read(path)
    ours = before is not None and before.startswith(f"{MARKER}\n")
    if after is not None and before is not None and not ours:
        raise UsageError(f"{path} was not written by `sendense timers`: move it away, or rename the job")
    if after is None and not (ours and _has_gone(before or "", jobs)):
        return Change(path, before, before)
    return Change(path, before, after)


def _has_gone(unit: str, jobs: frozenset[str]) -> bool:
    """Whether the job of a unit no longer asks for it: one of another job that was not named stays."""
    job = next((line.removeprefix(JOB) for line in unit.splitlines() if line.startswith(JOB)), "")
    return job in jobs or not Path(job).exists()


def _read(path: Path) -> str | None:
    with files.translate_os_errors(files.THIS_MACHINE, str(path), FileNotFoundError):
        try:
            return path.read_text(encoding="utf-8", errors="replace")
        except FileNotFoundError:
            return None
