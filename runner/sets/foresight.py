"""What will wait for what, before anything begins: for a plan."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from runner.sets.queue import CountDown, Queue
from runner.sets.request import Request


def foreseen(requests: Sequence[Request]) -> dict[str, int]:
    """What those that cannot begin at once wait for first, and what those with more disks than a limit take
    turns in → how many they are. By the real queue, as if nobody else held anything. Pure."""
    queue, found = Queue(), Counter[str]()
    for request in requests:
        queue.put(request, 0.0)
        if divided := [claim for claim in request.claims if claim.divided]:
            least = min(divided, key=lambda claim: claim.limit)
            found[f"their disks take turns: {least.what} (at most {least.limit})"] += 1
    queue.admit(CountDown(len(requests)).one_more)
    lacks = (queue.waits_for(one.request.id) for one in queue.waiting())
    found.update(f"{lack.claim.what} (at most {lack.claim.limit})" for lack in lacks if lack is not None)
    return dict(found)
