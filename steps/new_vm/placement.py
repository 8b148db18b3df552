"""Where a restored VM goes: chosen among what the vCenter has, by what was asked for and where it was."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from steps.new_vm.options import NewVmOptions
from steps.vsphere.names import unescape
from steps.vsphere.targets import Cluster, Folder, Host, Net, Pool, Store, Targets

MOST_NAMED = 12
"""Names in a sentence; beyond it is a list that nobody reads."""


@dataclass(frozen=True)
class Placement:
    folder: Folder
    pool: Pool
    cluster: Cluster
    host: Host | None
    """None: vCenter chooses."""
    stores: tuple[Store, ...]
    """Those that the host, or a host of the cluster, reaches."""
    nets: tuple[Net, ...]

    @property
    def where(self) -> str:
        return f"host {self.host.name}" if self.host is not None else f"cluster {self.cluster.name}"


def choose(
    targets: Targets, options: NewVmOptions, path: str, pool_before: str, problems: list[str]
) -> Placement | None:
    """`path`: the inventory path that the VM had, `pool_before`: the moref of its resource pool. None with
    all that is wrong in `problems`, in sentences."""
    folder = _folder(targets, options.folder, path, problems)
    found = _compute(targets, options, pool_before, folder, problems)
    if folder is None or found is None:
        return None
    cluster, pool, host = found
    if cluster.datacenter != folder.datacenter:
        problems.append(
            f"the folder {folder.path} is in datacenter {folder.datacenter}, and {cluster.name} in "
            f"{cluster.datacenter}: name a folder and a pool of one datacenter"
        )
        return None
    stores = tuple(one for one in targets.stores if one.datacenter == folder.datacenter)
    nets = tuple(one for one in targets.nets if one.datacenter == folder.datacenter)
    reached_stores, reached_nets = _reached(cluster, host)
    return Placement(
        folder,
        pool,
        cluster,
        host,
        tuple(one for one in stores if not reached_stores or one.moref in reached_stores),
        tuple(one for one in nets if not reached_nets or one.moref in reached_nets),
    )


def _reached(cluster: Cluster, host: Host | None) -> tuple[frozenset[str], frozenset[str]]:
    """Datastores and networks; none where that is not told, which excludes nothing."""
    if host is not None and (host.datastores or host.networks):
        return host.datastores, host.networks
    return cluster.datastores, cluster.networks


def _folder(targets: Targets, wanted: str, was: str, problems: list[str]) -> Folder | None:
    path = (wanted or was.rpartition("/")[0]).strip("/")
    fits = [one for one in targets.folders if path in (one.path, one.moref)]
    if not fits:  # a datacenter stands for the top of its VMs; a path below that is enough where it is unique
        fits = [one for one in targets.folders if one.path in (f"{path}/vm", f"{one.datacenter}/vm/{path}")]
    if len(fits) == 1:
        return fits[0]
    there = listed((one.path for one in targets.folders), targets, "Folder")
    if len(fits) > 1:
        problems.append(f"the folder '{path}' may be {listed(one.path for one in fits)}: write one's path")
    elif wanted:
        problems.append(f"there is no folder '{wanted}' for VMs; there is {there}")
    else:
        problems.append(
            f"the folder {path or 'of the VM'} that the VM was in is not there: name another one with "
            f"`--folder`; there is {there}"
        )
    return None


def _compute(
    targets: Targets, options: NewVmOptions, was: str, folder: Folder | None, problems: list[str]
) -> tuple[Cluster, Pool, Host | None] | None:
    """The cluster, the pool in it, and the host unless vCenter chooses it."""
    host = None
    if options.host and (host := _host(targets, options.host, problems)) is None:
        return None
    pool = _pool(targets, options.pool, was, host, folder, problems)
    if pool is None:
        return None
    cluster = next(one for one in targets.clusters if one.moref == pool.cluster)
    if host is None:
        return _by_itself(cluster, pool, problems)
    if host not in cluster.hosts:
        problems.append(f"host {host.name} is not in {cluster.name}, where the pool {pool.path} is")
        return None
    return cluster, pool, host


def _by_itself(cluster: Cluster, pool: Pool, problems: list[str]) -> tuple[Cluster, Pool, Host | None] | None:
    """A cluster without DRS takes no VM without a host (API reference, CreateVM_Task)."""
    usable = [one for one in cluster.hosts if one.usable]
    if not usable:
        problems.append(f"no host of {cluster.name} is connected and out of maintenance mode")
        return None
    return cluster, pool, None if cluster.drs else usable[0]


def _host(targets: Targets, wanted: str, problems: list[str]) -> Host | None:
    hosts = [host for cluster in targets.clusters for host in cluster.hosts]
    found = next((one for one in hosts if wanted.lower() in (one.name.lower(), one.moref)), None)
    if found is None:
        there = listed((one.name for one in hosts), targets, "HostSystem")
        problems.append(f"there is no ESXi host '{wanted}'; there is {there}")
    elif not found.usable:
        problems.append(f"host {found.name} is disconnected or in maintenance mode: name another one")
    return found


def _pool(
    targets: Targets, wanted: str, was: str, host: Host | None, folder: Folder | None, problems: list[str]
) -> Pool | None:
    """Where nothing is wanted, the one that the VM was in, else the only cluster's."""
    here = [one for one in targets.clusters if folder is None or one.datacenter == folder.datacenter]
    roots = {one.root_pool: one for one in here}
    if not wanted:
        fits = [one for one in targets.pools if one.moref in roots]
        if host is not None:
            fits = [one for one in fits if host in roots[one.moref].hosts]
        clusters = {one.cluster for one in fits}
        fits = [one for one in targets.pools if one.moref == was and one.cluster in clusters] or fits
    else:
        fits = [one for one in targets.pools if _is_meant(wanted, one)]
        fits = [one for one in fits if one.cluster in {cluster.moref for cluster in here}] or fits
    if len(fits) == 1:
        return fits[0]
    there = listed((one.path for one in fits or targets.pools), targets, "ResourcePool")
    if wanted:
        said = (
            f"the pool '{wanted}' may be {there}: write one's path"
            if fits
            else (f"there is no cluster or resource pool '{wanted}'; there is {there}")
        )
        problems.append(said)
    else:
        problems.append(
            f"the VM can run in several places: name one with `--pool` or `--host`; there is {there}"
        )
    return None


def _is_meant(wanted: str, pool: Pool) -> bool:
    """``cluster1`` is its root pool, ``cluster1/gold`` the one below that: nobody writes Resources."""
    cluster, _, below = pool.path.partition("/")
    short = f"{cluster}{below.removeprefix('Resources')}"
    return wanted.strip("/") in (
        pool.path,
        pool.moref,
        short,
        pool.path.rpartition("/")[2] if below != "Resources" else short,
    )


def store(placement: Placement, wanted: str, what: str, problems: list[str]) -> Store | None:
    """The datastore of that name or moref; `what` goes there, in words."""
    fits = [one for one in placement.stores if wanted in (one.name, unescape(one.name), one.moref)]
    if len(fits) == 1 and not fits[0].why_not:
        return fits[0]
    if fits:
        _add(problems, what, f" cannot go to datastore {wanted}: {fits[0].why_not or 'two have that name'}")
        return None
    there = listed(unescape(one.name) for one in placement.stores if not one.why_not)
    _add(
        problems,
        what,
        f" cannot go to datastore {wanted or '(none)'}: {placement.where} has {there}; name one of them with "
        "`--datastore`",
    )
    return None


def _add(problems: list[str], what: str, wrong: str) -> None:
    """One sentence for all that it is true of: a VM may have 60 disks on one datastore."""
    for place, told in enumerate(problems):
        if told.endswith(wrong):
            problems[place] = f"{told.removesuffix(wrong)}, {what}{wrong}"
            return
    problems.append(f"{what}{wrong}")


def listed(names: Iterable[str], targets: Targets | None = None, kind: str = "") -> str:
    """At most `MOST_NAMED` of them, and how many of that kind the account may not read."""
    every: Sequence[str] = sorted(set(names))
    told = ", ".join(every[:MOST_NAMED]) or "none"
    if len(every) > MOST_NAMED:
        told += f" and {len(every) - MOST_NAMED} more"
    hidden = [one for one in (targets.unread if targets else ()) if one.startswith(f"{kind} ")]
    return f"{told} (and {len(hidden)} that the account may not read)" if hidden else told
