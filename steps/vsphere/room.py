"""Room in a vCenter for one more VM: free space of its datastores, and snapshots that failed runs hold."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Sequence
from functools import partial

from runner.base.units import MINUTE
from runner.step.context import Context
from runner.step.items import UNCOUNTED, Item, Room
from steps.vsphere import datastores, snapshots
from steps.vsphere.client import Client, vcenter
from steps.vsphere.limits import VCenterLimits, free_on, held
from steps.vsphere.owner import PREFIX, read_owner

TOGETHER = 5.0
"""Seconds within which one answer serves for all datastores."""

SNAPSHOTS_EVERY = 10 * MINUTE
"""It reads a property of every VM."""


def rooms(
    ctx: Context, name: str, limits: VCenterLimits, min_free: float | None, items: Sequence[Item]
) -> Iterator[Room]:
    """Of the vCenter that the job calls `name`."""
    client = vcenter(ctx, name)
    if limits.held_snapshots is not None:
        enough = partial(_may_hold_more, client, limits.held_snapshots)
        yield Room(held(client.uuid), enough, every=SNAPSHOTS_EVERY)
    if min_free is not None:
        free = _Free(client)
        stores = dict.fromkeys(store for item in items for store in item.stands_on.get("datastore", ()))
        for store in stores:
            moref = store.key.rpartition("/")[2]
            yield Room(free_on(store.key), partial(_has_free, free, moref, min_free))


class _Free:
    """Percent free of all datastores, by moref."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._read = float("-inf")
        self._percent: dict[str, float | None] = {}

    def of(self, moref: str) -> float | None:
        """None where vSphere does not say."""
        if time.monotonic() - self._read > TOGETHER:
            self._percent = datastores.free_of_all(self._client)
            self._read = time.monotonic()
        return self._percent.get(moref)


def _has_free(free: _Free, moref: str, least: float, living: Collection[str]) -> float:
    """A datastore that vSphere says nothing of has no room."""
    percent = free.of(moref)
    return UNCOUNTED if percent is not None and percent >= least else -1


def _may_hold_more(client: Client, most: int, living: Collection[str]) -> float:
    jobs = {one.partition("@")[0] for one in living}
    items = {one.partition("@")[2] for one in living}
    count = 0
    for _, _, snapshot in snapshots.named(client, PREFIX):
        owner = read_owner(snapshot.description)
        if owner is None or (owner.job not in jobs and not owner.job.endswith(tuple(items - {""}))):
            count += 1
    return UNCOUNTED if count < most else -1
