"""Where a new VM may go: the folders, clusters, pools, hosts, datastores and networks of a vCenter, as values
of one paged read (`targets_tree`). Who chooses among them asks nobody.

Names are as people write them, paths are inventory paths with names as the API gives them. What the account
may not read of an object is empty, and never taken for absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import JsonValue


@dataclass(frozen=True)
class Folder:
    """Of VMs."""

    moref: str
    path: str
    """``DC1/vm/prod``"""
    datacenter: str
    """Its datacenter's inventory path, as dcPath of /folder."""


@dataclass(frozen=True)
class Host:
    moref: str
    name: str
    usable: bool
    """Connected, and not in maintenance mode."""
    datastores: frozenset[str]
    """morefs; empty where it does not tell."""
    networks: frozenset[str]


@dataclass(frozen=True)
class Cluster:
    """A compute resource: a cluster, or a host by itself."""

    moref: str
    name: str
    path: str
    datacenter: str
    hosts: tuple[Host, ...]
    root_pool: str
    """moref"""
    drs: bool
    """Whether vCenter chooses the host."""
    datastores: frozenset[str]
    """morefs; empty where it does not tell."""
    networks: frozenset[str]


@dataclass(frozen=True)
class Pool:
    moref: str
    path: str
    """Below the cluster, with its name: ``cluster1/Resources/gold``."""
    cluster: str
    """moref"""


@dataclass(frozen=True)
class Store:
    moref: str
    name: str
    """As the API gives it, escaped: files are named by it."""
    datacenter: str
    kind: str
    """Datastore.summary.type: VMFS, NFS, vsan, VVOL …"""
    free: int | None
    """Bytes; None where vSphere does not say."""
    why_not: str
    """Why nothing can be written there now; empty if it can."""


@dataclass(frozen=True)
class Net:
    """A network, or a distributed port group."""

    kind: str
    """The API's type: Network, OpaqueNetwork, DistributedVirtualPortgroup."""
    moref: str
    name: str
    datacenter: str
    portgroup: str
    """Key of a distributed port group."""
    backing: Mapping[str, JsonValue]
    """Of a network adapter on it, as `configuration.as_json` writes it."""


@dataclass(frozen=True)
class Targets:
    folders: tuple[Folder, ...] = ()
    clusters: tuple[Cluster, ...] = ()
    pools: tuple[Pool, ...] = ()
    stores: tuple[Store, ...] = ()
    nets: tuple[Net, ...] = ()
    unread: tuple[str, ...] = field(default=())
    """Objects of which the account may not read the name: ``Datastore datastore-12``."""
