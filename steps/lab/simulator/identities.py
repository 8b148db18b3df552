"""What tells VMs apart: instance uuids and MACs that are taken."""

from __future__ import annotations

import uuid

from steps.lab.simulator.machine import Machine
from steps.lab.simulator.objects import World


def free_uuid(world: World, given: str | None) -> str:
    """`given`, or another where a VM has it or none is given."""
    taken = given and any(one.instance_uuid.lower() == given.lower() for one in world.all(Machine))
    return str(uuid.uuid4()) if taken or not given else given


def macs_of_others(world: World, machine: Machine | None) -> set[str]:
    return {
        card.macAddress.lower()
        for one in world.all(Machine)
        if one is not machine and one.stands
        for card in one.cards
        if card.macAddress
    }
