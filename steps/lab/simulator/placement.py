"""Where a VM is put: what the folder's datacenter and the pool's hosts offer it."""

from __future__ import annotations

from steps.lab.simulator import networks
from steps.lab.simulator.compute import ComputeResource, Host
from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.entities import Entity
from steps.lab.simulator.objects import Managed
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.vmodl import fault, invalid_argument, vim, vmodl


def surroundings(folder: Managed, pool: Managed, host: Managed | None) -> Surroundings:
    """Of a VM in `folder` and `pool`; without a `host`, on the first one of the pool's. Raises NotSupported
    for a folder that holds no VMs, InvalidArgument for a pool of another datacenter and for a host that does
    not run the pool's VMs."""
    assert isinstance(folder, Entity)
    assert isinstance(pool, Entity)
    datacenter = folder.above(vim.Datacenter)
    if datacenter is None or datacenter.children[0] not in (folder, *folder.ancestors()):
        raise fault(vmodl.fault.NotSupported, "The operation is not supported on the object.")
    compute = pool.above(vim.ComputeResource)
    if not isinstance(compute, ComputeResource) or compute.above(vim.Datacenter) is not datacenter:
        raise invalid_argument("pool")
    hosts = list(compute.hosts.values())
    if host is not None and host not in hosts:
        raise invalid_argument("host")
    _, _, stores, below = datacenter.children
    by_name, portgroups = networks.known(below)
    chosen: Host = next(one for one in hosts if host in (None, one))
    return Surroundings(
        datacenter=datacenter.inventory_path,
        datastores={one.spec.name: one for one in stores.descendants() if isinstance(one, Datastore)},
        networks=by_name,
        host=chosen.ref,
        pool=pool.ref,
        portgroups=portgroups,
        key_provider=folder.world.key_provider,
    )
