"""A drill that was decided, before anything of it is started."""

from __future__ import annotations

from runner.base.model import HostName, Model
from steps.values.drill import AcceleratorChoice, Expectation, MachineLimits
from steps.values.machine import Machine
from steps.values.stored_point import StoredPoint


class PlannedDrill(Model):
    source: str
    """The point: VM/POINT"""
    point: StoredPoint
    """The point itself"""
    machine: Machine
    """What it is booted as"""
    host: HostName
    """Where: the job's name of a host"""
    host_why: str
    """Why there, in words; empty where the job says so"""
    expect: tuple[Expectation, ...]
    """What must be seen, and by when"""
    within: float | None
    """How long it is watched where nothing is expected, in seconds; None: as long as the accelerator asks
    for"""
    limits: MachineLimits
    """What it may take there"""
    accelerator: AcceleratorChoice
    """What may run the guest's instructions"""
    guest_address: str | None
    """The guest's own static address with its prefix; None: it asks DHCP"""
