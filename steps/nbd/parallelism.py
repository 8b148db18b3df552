"""How many NBD connections carry a disk, and through how many ssh processes.

On a short wire one connection keeps both ends busy, and each further one costs them threads and switches
between them. On a long one what may be under way decides: each channel of ssh has a window, and so has each
TCP connection.
"""

from __future__ import annotations

import math
import os
from dataclasses import dataclass

from runner.base.units import MiB

MOST_CONNECTIONS = 16
"""Of one disk, where the job names no limit."""

DIRECT = 1
"""Connections to a server on this machine (nbdcopy of 569 MiB of data on two cores, requests of 1 MiB, CPU
seconds with its servers: 0.94 through one, 1.07 through four)."""

LONG_WIRE = 0.003
"""Seconds of a round trip. Two MiB under way in this time are 700 MB/s, more than an ssh process encrypts."""

_CHANNEL_WINDOW = 2 * MiB
"""What OpenSSH lets be under way in a connection that it forwards (channels.h, CHAN_TCP_WINDOW_DEFAULT)."""

_TCP_WINDOW = 4 * MiB
"""What Linux lets be under way in a TCP connection by itself (tcp(7), tcp_wmem)."""

_RATE = 800 * MiB
"""Bytes a second that a long wire is filled for: twice what two cores encrypt, decrypt, digest and store,
since a window is seldom full. At 20 ms that is eight connections over four ssh processes (569 MiB: 2.6 s;
nbdcopy took 3.7 s with eight over one)."""

_CORES_PER_SSH = 2
"""An ssh process keeps one core busy, and what it is fed by another."""

_MOST_SSH = 4
"""sshd refuses at random once ten logins are under way (sshd_config(5), MaxStartups)."""


@dataclass(frozen=True)
class Parallelism:
    ssh_processes: int
    """0 without SSH."""
    connections: int
    """NBD connections, spread over the ssh processes."""


def choose(*, round_trip: float | None, limit: int = MOST_CONNECTIONS, cores: int = 0) -> Parallelism:
    """`round_trip`: seconds, measured through ssh; None without SSH. `limit`: connections at most. `cores`:
    those that this process may use, unless given."""
    if round_trip is None:
        return Parallelism(0, min(DIRECT, limit))
    processes = min((cores or len(os.sched_getaffinity(0))) // _CORES_PER_SSH, _MOST_SSH)
    connections = processes
    if round_trip > LONG_WIRE:
        under_way = _RATE * round_trip
        processes = min(max(processes, math.ceil(under_way / _TCP_WINDOW)), _MOST_SSH)
        connections = max(processes, math.ceil(under_way / _CHANNEL_WINDOW))
    processes = max(1, min(processes, limit))
    # As many in each: what is read in order would wait for the fullest.
    each = max(1, min(connections, limit) // processes)
    return Parallelism(processes, processes * each)
