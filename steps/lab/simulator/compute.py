"""What VMs run on: clusters and their hosts, resource pools and vApps."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from runner.base.errors import UsageError
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.environment_browser import EnvironmentBrowser
from steps.lab.simulator.inventory import ClusterSpec, VappSpec
from steps.lab.simulator.objects import World, operation, provides
from steps.lab.simulator.soap import Call
from steps.lab.simulator.vmodl import vim

ESXI_HOST = "ha-host"
"""The moref of itself on every ESXi host."""


class ComputeResource(Entity):
    """One host by itself, or (`Cluster`) several: enough for a VM to stand on. That an ESXi host has no
    cluster is nothing to a backup."""

    kind = vim.ComputeResource

    def __init__(self, world: World, parent: Entity, spec: ClusterSpec, host_uuid: str) -> None:
        super().__init__(world, world.number("domain-c"), spec.name, parent)
        names = spec.hosts or (f"esxi.{spec.name.lower()}.example",)
        self.hosts = {
            name: Host(world, ESXI_HOST if world.esxi else world.number("host"), name, self, host_uuid)
            for name in names
        }
        self._browser = EnvironmentBrowser(world, f"envbrowser-{self.moid}", spec.hardware)
        self.root = ResourcePool(world, world.number("resgroup"), "Resources", self)
        for path in spec.pools:
            self.pool(path, make=True)

    @provides("host")
    def host_refs(self) -> list[Any]:
        return [host.ref for host in self.hosts.values()]

    @provides("resourcePool")
    def resource_pool(self) -> Any:
        return self.root.ref

    @provides("environmentBrowser")
    def environment_browser(self) -> Any:
        return self._browser.ref

    def pool(self, path: str, *, make: bool = False) -> ResourcePool:
        """The one at `path` below its own. Raises UsageError."""
        found = self.root
        for name in filter(None, path.split("/")):
            below = found.below(name)
            if below is None and make:
                below = ResourcePool(self.world, self.world.number("resgroup"), name, found)
            if not isinstance(below, ResourcePool):
                raise UsageError(f"cluster {self.name} has no resource pool {path}; name it in its `pools`")
            found = below
        return found


class Cluster(ComputeResource):
    kind = vim.ClusterComputeResource


class Host(Entity):
    kind = vim.HostSystem

    def __init__(self, world: World, moid: str, name: str, parent: Entity, uuid: str) -> None:
        super().__init__(world, moid, name, parent)
        self._uuid = uuid

    @provides("hardware")
    def hardware(self) -> Any:
        if not self._uuid:
            return None  # optional, its uuid is not
        system = vim.host.SystemInfo(vendor="VMware, Inc.", model="simulated", uuid=self._uuid)
        return vim.host.HardwareInfo(systemInfo=system)

    @provides("runtime")
    def runtime(self) -> Any:
        return vim.host.RuntimeInfo(
            connectionState="connected", powerState="poweredOn", inMaintenanceMode=False
        )


class ResourcePool(Entity):
    kind = vim.ResourcePool

    @operation("ImportVApp")
    def import_vapp(self, call: Call) -> Any:
        return self.world.leases.import_vapp(self, call)


class VirtualApp(ResourcePool):
    """A pool with VMs of its own, which is shown in a VM folder too."""

    kind = vim.VirtualApp

    def __init__(self, world: World, name: str, pool: ResourcePool, folder: Entity) -> None:
        super().__init__(world, world.number("resgroup-v"), name, pool)
        self._folder = folder

    @provides("parentFolder")
    def parent_folder(self) -> Any:
        return self._folder.ref

    @provides("vm")
    def machines(self) -> list[Any]:
        return [child.ref for child in self.children]


class Compute:
    """All of one datacenter, by the names that an inventory file has for it."""

    def __init__(self, clusters: Mapping[str, ComputeResource]) -> None:
        self._clusters = clusters
        self.vapps: dict[str, VirtualApp] = {}

    def add_vapp(self, world: World, spec: VappSpec, folder: Entity) -> None:
        pool = self.cluster(spec.cluster, None).pool(spec.pool)
        self.vapps[spec.name] = VirtualApp(world, spec.name, pool, folder)

    def cluster(self, name: str | None, host: str | None) -> ComputeResource:
        """Of that name, or the one that has the host; the first one for neither. Raises UsageError."""
        for key, cluster in self._clusters.items():
            if name in (None, key) and (host is None or host in cluster.hosts):
                return cluster
        raise UsageError(f"there is no cluster {name or 'at all'} with the host {host}")

    def vapp(self, name: str) -> VirtualApp:
        """Raises UsageError."""
        if name not in self.vapps:
            raise UsageError(f"there is no vApp {name}; name it in the datacenter's `vapps`")
        return self.vapps[name]
