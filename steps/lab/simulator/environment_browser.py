"""EnvironmentBrowser: what VMs can be made in a cluster."""

from __future__ import annotations

from typing import Any

from steps.lab.simulator.objects import Managed, World, operation
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import vim

OLDEST_MADE = 4
"""Virtual hardware of which ESXi still makes VMs."""


class EnvironmentBrowser(Managed):
    """Of one compute resource, whose hosts make virtual hardware up to version `newest`."""

    kind = vim.EnvironmentBrowser

    def __init__(self, world: World, moid: str, newest: int) -> None:
        super().__init__(world, moid)
        self._newest = newest

    @operation("QueryConfigOptionDescriptor")
    def descriptors(self, call: Call) -> list[Any]:
        return [
            vim.vm.ConfigOptionDescriptor(
                key=f"vmx-{number:02}",
                description=f"version {number}",
                createSupported=number >= OLDEST_MADE,
                defaultConfigOption=number == self._newest,
                runSupported=True,
                upgradeSupported=True,
            )
            for number in range(3, self._newest + 1)
        ]
