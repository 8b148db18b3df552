"""The way to an export on another host, where much may be moved over it."""

from __future__ import annotations

from runner.step.step import Given


class Wire(Given):
    """Where further ssh processes lead to, beside the one that all small work with the host shares."""

    host: str
    """The job's name of the host."""
    address: str
    """What listens there: a unix socket, or ``127.0.0.1:port``."""
    export: str
    """NBD export name"""
    ssh_processes: int
    """How many carry it at most, with the shared one."""
    connections: int
    """NBD connections through all of these."""
    round_trip: float
    """Seconds, as measured: what these two follow from"""

    @property
    def connections_each(self) -> int:
        return max(1, self.connections // self.ssh_processes)
