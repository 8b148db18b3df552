"""What is to be booted, where its disks are read, and what is to be seen."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from steps.values.drill import AcceleratorChoice, Expectation, MachineLimits
from steps.values.machine import Machine


@dataclass(frozen=True)
class BootRequest:
    machine: Machine
    disks: Mapping[int, str]
    """Disk key → where it is read, as seen on the host that boots it: an NBD URI, or the absolute path of a
    raw file. It is opened for reading only."""
    expect: tuple[Expectation, ...]
    """None: it is watched until its time is over, for the picture."""
    limits: MachineLimits
    accelerator: AcceleratorChoice = "auto"
    guest_address: str | None = None
    """The guest's own static address with its prefix, ``192.0.2.10/24``; None: it asks DHCP."""
    within: float | None = None
    """How long it is watched where nothing is expected, in seconds; None: as long as the accelerator asks
    for."""
