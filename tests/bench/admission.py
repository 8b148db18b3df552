"""10,000 VMs on 20 node hosts through the real queue, with a clock of its own: how long they wait, how busy the node hosts
are, and that no limit is passed.

    python -m tests.bench.admission [VMS]
"""

from __future__ import annotations

import heapq
import random
import statistics
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

from runner.base.units import GiB, MiB
from runner.sets.queue import CountDown, Queue
from runner.sets.request import Request
from runner.step.items import Claim

NODES, NODE_DISKS = 20, 8
"""Hosts that read, and disks that each reads at once."""
ESXI_DISKS, STORE_SNAPSHOTS = 12, 4
VCENTER_DISKS = REPOSITORY_DISKS = NODES * NODE_DISKS
VMS_PER_ESXI, VMS_PER_STORE = 40, 40

BEGIN = 25.0
"""Seconds of a child beside its copying: login, snapshot, its removal."""
SPEED = 60 * MiB
"""Bytes a second of one disk."""


@dataclass(frozen=True)
class Vm:
    request: Request
    seconds: float
    disks: int


@dataclass
class Night:
    """What came of it; times in seconds."""

    hours: float
    waited: list[float]
    waited_large: list[float]
    """Of those that take all of a limit."""
    busy: float
    """Share of the node hosts' places that were taken, until nine tenths of all VMs were done."""
    at_least: float
    """Hours that no order could go below: all work spread evenly."""
    cpu: float


def estate(count: int, seed: int = 5) -> Iterator[Vm]:
    chance = random.Random(seed)
    hosts, stores = max(1, count // VMS_PER_ESXI), max(1, count // VMS_PER_STORE)
    for number in range(count):
        disks = min(16, 1 + int(chance.expovariate(0.7)))
        changed = min(2_000, chance.lognormvariate(1.2, 1.1)) * GiB
        node, host, store = number % NODES, chance.randrange(hosts), chance.randrange(stores)
        claims = (
            Claim.share("vcenter disks", disks, VCENTER_DISKS, "disks read at once"),
            Claim.share(f"node {node} disks", disks, NODE_DISKS, "disks of a node host"),
            Claim.share(f"esxi {host} disks", disks, ESXI_DISKS, "disks of an ESXi host"),
            Claim(f"datastore {store} snapshots", 1, STORE_SNAPSHOTS, "snapshots of a datastore"),
            Claim.share("repository disks", disks, REPOSITORY_DISKS, "disks written at once"),
        )
        at_once = min(disks, NODE_DISKS)
        request = Request(f"vm{number}", f"vm{number}", claims, age=chance.uniform(20, 30) * 3600)
        yield Vm(request, BEGIN + changed / (at_once * SPEED), at_once)


def night(vms: list[Vm]) -> Night:
    known = {vm.request.id: vm for vm in vms}
    queue, used = Queue(), Counter[str]()
    running: list[tuple[float, str]] = []
    waited, large, now, done, busy, busy_until = [], [], 0.0, 0, 0.0, 0.0
    began = time.process_time()
    for vm in vms:
        queue.put(vm.request, 0.0)
    while len(queue) or running:
        for one in queue.admit(CountDown(len(vms)).one_more):
            vm = known[one.request.id]
            for claim in one.request.claims:
                used[claim.resource] += claim.amount
                assert used[claim.resource] <= claim.limit, f"{claim.resource} is over its limit"
            waited.append(now)
            if any(claim.divided for claim in one.request.claims):
                large.append(now)
            heapq.heappush(running, (now + vm.seconds, one.request.id))
        places = sum(known[name].disks for _, name in running) if done < 0.9 * len(vms) else 0
        ended, name = heapq.heappop(running)
        busy += places * (ended - now)
        busy_until = ended if places else busy_until
        now, done = ended, done + 1
        queue.release(name)
        for claim in known[name].request.claims:
            used[claim.resource] -= claim.amount
    assert len(waited) == len(vms), "a VM was dropped"
    work = sum(vm.seconds * vm.disks for vm in vms)
    places_all = NODES * NODE_DISKS
    cpu = time.process_time() - began
    return Night(now / 3600, waited, large, busy / (places_all * busy_until), work / places_all / 3600, cpu)


def main(count: int = 10_000) -> None:
    found = night(list(estate(count)))
    tenths = statistics.quantiles(found.waited, n=10)
    print(f"{count} VMs on {NODES} node hosts of {NODE_DISKS} disks: done after {found.hours:.1f} h,")
    print(f"  {found.at_least:.1f} h of work if it could be spread evenly")
    print(f"in the queue: median {tenths[4] / 3600:.1f} h, nine of ten {tenths[8] / 3600:.1f} h at most")
    print(
        f"  of {len(found.waited_large)} VMs with more disks than a limit: {max(found.waited_large) / 3600:.1f} h at most"
    )
    print(f"node hosts: {100 * found.busy:.0f} % of their places taken until nine of ten VMs were done")
    print(f"no limit was passed; the queue took {found.cpu:.1f} s of CPU time")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
