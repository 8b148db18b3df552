"""What can be told of a machine before anything of it is started."""

from __future__ import annotations

from collections.abc import Sequence

from steps.boot import network, overlays
from steps.values.drill import Expectation, MachineLimits
from steps.values.machine import Machine


def check(
    machine: Machine, expect: Sequence[Expectation], limits: MachineLimits, guest_address: str | None
) -> None:
    """Raises BootError for what cannot be had: ports of a machine without a network adapter, a network that
    is no guest's, an overlay that is too little for so many disks."""
    overlays.shares(machine, limits.overlay)
    tuple(network.arguments(machine, network.ports(expect), guest_address))
