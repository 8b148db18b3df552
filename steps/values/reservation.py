"""The lock of a VM in its repository, while it is held."""

from __future__ import annotations

from runner.step.step import Given


class Reservation(Given):
    repository: str
    """The job's name of the repository."""
    lock: str
    """Path of the lock file on the repository host."""
    host: str
    """The repository's."""
    uuid: str
    """Of the repository."""
