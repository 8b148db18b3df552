"""Networks: port groups of hosts by their names, and those of distributed switches by their keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from steps.lab.simulator.entities import Entity, stable_uuid, unescape
from steps.lab.simulator.objects import World, provides
from steps.lab.simulator.vmodl import vim


class Network(Entity):
    kind = vim.Network

    @provides("summary")
    def summary(self) -> Any:
        return vim.Network.Summary(network=self.ref, name=self.name, accessible=True, ipPoolName="")


class DistributedSwitch(Entity):
    kind = vim.dvs.VmwareDistributedVirtualSwitch

    @provides("uuid")
    def uuid(self) -> str:
        """Sixteen spaced bytes, as a real one's (govmomi, object/distributed_virtual_switch)."""
        return bytes.fromhex(stable_uuid("switch", self.inventory_path).replace("-", "")).hex(" ")


class DistributedPortgroup(Network):
    """Its key is its moref."""

    kind = vim.dvs.DistributedVirtualPortgroup

    def __init__(self, world: World, switch: DistributedSwitch, name: str, folder: Entity) -> None:
        super().__init__(world, world.number("dvportgroup"), name, folder)
        self.switch = switch

    @provides("key")
    def key(self) -> str:
        return self.moid

    @provides("config")
    def config(self) -> Any:
        return vim.dvs.DistributedVirtualPortgroup.ConfigInfo(
            key=self.moid,
            name=self.name,
            numPorts=8,
            distributedVirtualSwitch=self.switch.ref,
            type="earlyBinding",
            autoExpand=True,
            uplink=False,
        )


def build(
    world: World, folder: Entity, names: tuple[str, ...], switches: Mapping[str, tuple[str, ...]]
) -> None:
    """In a datacenter's network folder."""
    for name in names:
        Network(world, world.number("network"), name, folder)
    for name, portgroups in switches.items():
        switch = DistributedSwitch(world, world.number("dvs"), name, folder)
        for portgroup in portgroups:
            DistributedPortgroup(world, switch, portgroup, folder)


def known(folder: Entity) -> tuple[dict[str, Any], dict[str, str]]:
    """The networks by name, and of those of distributed switches the switch's uuid by key."""
    found = [one for one in folder.descendants() if isinstance(one, Network)]
    distributed = (one for one in found if isinstance(one, DistributedPortgroup))
    return {unescape(one.name): one.ref for one in found}, {
        one.moid: one.switch.uuid() for one in distributed
    }
