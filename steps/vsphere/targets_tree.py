"""The inventory of a vCenter, read in one paged request, as the places where a new VM may go."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import JsonValue

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.names import unescape
from steps.vsphere.properties import contents, properties_of, view
from steps.vsphere.session import Session
from steps.vsphere.targets import Cluster, Folder, Host, Net, Pool, Store, Targets

DEEPEST = 100
"""Levels of folders; they nest, but not in circles."""


def read(client: Client) -> Targets:
    """Raises PermissionMissing, Unreachable, VSphereError."""
    doing = "reading where a new VM may go"

    def work(session: Session) -> list[Any]:
        wanted = _wanted()
        with view(session, wanted) as objects:
            return list(contents(session, objects, wanted))

    found = client.ask(("targets",), doing, work)
    return of_objects({str(one.obj._moId): (one.obj, properties_of(one)) for one in found})


def of_objects(seen: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> Targets:
    """Of managed objects and their properties, by moref. Pure."""
    return _Tree(seen).targets()


def _wanted() -> dict[Any, tuple[str, ...]]:
    vim, own = vmomi.vim, ("name", "parent")
    compute = (*own, "host", "resourcePool", "datastore", "network")
    return {
        vim.Folder: (*own, "childType"),
        vim.Datacenter: own,
        vim.ComputeResource: compute,
        vim.ClusterComputeResource: (*compute, "configuration"),
        vim.HostSystem: (*own, "runtime", "datastore", "network"),
        vim.ResourcePool: (*own, "owner"),
        vim.VirtualApp: own,
        vim.Datastore: (*own, "summary"),
        vim.Network: own,
        vim.OpaqueNetwork: (*own, "summary"),
        vim.dvs.DistributedVirtualPortgroup: (*own, "key", "config"),
        vim.DistributedVirtualSwitch: (*own, "uuid"),
    }


class _Tree:
    """What was read, by moref."""

    def __init__(self, seen: Mapping[str, tuple[Any, Mapping[str, Any]]]) -> None:
        self._seen = seen

    def targets(self) -> Targets:
        return Targets(
            folders=tuple(sorted(self._folders(), key=lambda one: one.path)),
            clusters=tuple(sorted(self._clusters(), key=lambda one: one.path)),
            pools=tuple(sorted(self._pools(), key=lambda one: one.path)),
            stores=tuple(sorted(self._stores(), key=lambda one: (one.datacenter, one.name))),
            nets=tuple(sorted(self._nets(), key=lambda one: (one.datacenter, one.name))),
            unread=tuple(sorted(self._unread())),
        )

    def _of(self, *kinds: Any) -> Iterator[tuple[str, Any, Mapping[str, Any]]]:
        for moref, (obj, seen) in self._seen.items():
            if isinstance(obj, kinds) and seen.get("name"):
                yield moref, obj, seen

    def _unread(self) -> Iterator[str]:
        for moref, (obj, seen) in self._seen.items():
            if not seen.get("name"):
                yield f"{_kind(obj)} {moref}"

    def _above(self, moref: str) -> Iterator[tuple[Any, str]]:
        """The object and all that it is in, with their names, from itself upwards; without the root
        folder."""
        for _ in range(DEEPEST):
            obj, seen = self._seen.get(moref, (None, {}))
            if obj is None:
                return
            yield obj, str(seen.get("name", moref))
            if seen.get("parent") is None:
                return
            moref = str(seen["parent"]._moId)

    def _path(self, moref: str) -> str:
        return "/".join(name for _, name in reversed(list(self._above(moref))))

    def _datacenter(self, moref: str) -> str:
        return next(
            (self._path(obj._moId) for obj, _ in self._above(moref) if isinstance(obj, vmomi.vim.Datacenter)),
            "",
        )

    def _folders(self) -> Iterator[Folder]:
        for moref, _, seen in self._of(vmomi.vim.Folder):
            if "VirtualMachine" in _types(seen.get("childType")):
                yield Folder(moref, self._path(moref), self._datacenter(moref))

    def _clusters(self) -> Iterator[Cluster]:
        for moref, _, seen in self._of(vmomi.vim.ComputeResource):
            pool = seen.get("resourcePool")
            if pool is None:
                continue
            hosts = tuple(self._host(host._moId) for host in seen.get("host") or ())
            yield Cluster(
                moref,
                unescape(str(seen["name"])),
                self._path(moref),
                self._datacenter(moref),
                tuple(sorted(hosts, key=lambda one: one.name)),
                str(pool._moId),
                bool(getattr(getattr(seen.get("configuration"), "drsConfig", None), "enabled", False)),
                _morefs(seen.get("datastore")),
                _morefs(seen.get("network")),
            )

    def _host(self, moref: str) -> Host:
        _, seen = self._seen.get(moref, (None, {}))
        runtime = seen.get("runtime")
        usable = runtime is None or (runtime.connectionState == "connected" and not runtime.inMaintenanceMode)
        name = str(seen.get("name") or moref)
        return Host(moref, name, usable, _morefs(seen.get("datastore")), _morefs(seen.get("network")))

    def _pools(self) -> Iterator[Pool]:
        for moref, obj, seen in self._of(vmomi.vim.ResourcePool):
            owner = seen.get("owner")
            if isinstance(obj, vmomi.vim.VirtualApp):
                continue  # a VM in it has no folder: its owner arranges what is in it
            above = [name for one, name in self._above(moref) if isinstance(one, vmomi.vim.ResourcePool)]
            cluster = next(
                (
                    str(one._moId)
                    for one, _ in self._above(moref)
                    if isinstance(one, vmomi.vim.ComputeResource)
                ),
                "" if owner is None else str(owner._moId),
            )
            named = self._seen.get(cluster, (None, {}))[1].get("name", cluster)
            yield Pool(moref, unescape("/".join((str(named), *reversed(above)))), cluster)

    def _stores(self) -> Iterator[Store]:
        for moref, _, seen in self._of(vmomi.vim.Datastore):
            summary = seen.get("summary")
            why = _why_not(summary)
            # One that is not accessible keeps old numbers (API reference, DatastoreSummary.accessible).
            free = None if summary is None or why else int(summary.freeSpace)
            kind = str(getattr(summary, "type", "") or "")
            yield Store(moref, str(seen["name"]), self._datacenter(moref), kind, free, why)

    def _nets(self) -> Iterator[Net]:
        for moref, obj, seen in self._of(vmomi.vim.Network):
            key, backing = self._backing(obj, seen)
            if backing:
                yield Net(
                    _kind(obj), moref, unescape(str(seen["name"])), self._datacenter(moref), key, backing
                )

    def _backing(self, obj: Any, seen: Mapping[str, Any]) -> tuple[str, Mapping[str, JsonValue]]:
        """And the key of a distributed port group. Nothing of what no VM can be connected to."""
        if isinstance(obj, vmomi.vim.dvs.DistributedVirtualPortgroup):
            return str(seen.get("key") or ""), self._distributed(seen)
        if isinstance(obj, vmomi.vim.OpaqueNetwork):
            summary = seen.get("summary")
            if summary is None:
                return "", {}
            return "", {
                "_type": "OpaqueNetworkBackingInfo",
                "opaqueNetworkId": str(summary.opaqueNetworkId),
                "opaqueNetworkType": str(summary.opaqueNetworkType),
            }
        return "", {"_type": "NetworkBackingInfo", "deviceName": str(seen["name"])}

    def _distributed(self, seen: Mapping[str, Any]) -> dict[str, JsonValue]:
        config, key = seen.get("config"), seen.get("key")
        switch = getattr(config, "distributedVirtualSwitch", None)
        uuid = self._seen.get(getattr(switch, "_moId", ""), (None, {}))[1].get("uuid")
        if not key or not uuid or getattr(config, "uplink", False):
            return {}  # an uplink is the switch's own
        port: dict[str, JsonValue] = {
            "_type": "PortConnection",
            "switchUuid": str(uuid),
            "portgroupKey": str(key),
        }
        return {"_type": "DistributedVirtualPortBackingInfo", "port": port}


def _kind(obj: Any) -> str:
    return type(obj).__name__.rpartition(".")[2]


def _types(listed: Any) -> list[str]:
    """Names of types, which arrive as pyVmomi's classes or as text."""
    return [(one if isinstance(one, str) else str(one.__name__)).rpartition(".")[2] for one in listed or ()]


def _morefs(listed: Any) -> frozenset[str]:
    return frozenset(str(one._moId) for one in listed or ())


def _why_not(summary: Any) -> str:
    if summary is None:
        return ""  # it may not be read, which says nothing against it
    if not summary.accessible:
        return "no host reaches it at the moment"
    mode = str(getattr(summary, "maintenanceMode", None) or "normal")
    return "" if mode == "normal" else "it is in maintenance mode"
