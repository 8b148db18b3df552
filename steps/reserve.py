"""reserve: the VM's lock in the repository, held while the run lives (a PROCESS step and a guard)."""

from __future__ import annotations

from runner.step import Given


class Reservation(Given):
    repository: str
    lock: str
    """Path of the lock file on the repository's host."""
