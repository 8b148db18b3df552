"""Work on nodes that wait for each other only where one depends on another."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from runner.job.nodes import Node, NodeId


def side_by_side(
    nodes: Sequence[Node], waits_for: Callable[[Node], Collection[NodeId]], act: Callable[[Node], None]
) -> None:
    """Calls `act` for each of `nodes`, in a thread, as soon as it has returned for those of them that
    `waits_for` names. After a failure no more are begun; the first failure in the order of `nodes` is raised
    once all that were begun have ended."""
    if len(nodes) < 2:
        for node in nodes:
            act(node)
        return
    ahead = {node.id: node for node in nodes}
    running: dict[Future[None], NodeId] = {}
    failed: dict[NodeId, BaseException] = {}
    with ThreadPoolExecutor(len(nodes), thread_name_prefix="process") as pool:
        while True:
            unfinished = {*ahead, *running.values()}
            for node in tuple(ahead.values()) if not failed else ():
                if unfinished.isdisjoint(waits_for(node)):
                    running[pool.submit(act, node)] = ahead.pop(node.id).id
            if not running:
                break
            for ended in wait(running, return_when=FIRST_COMPLETED).done:
                identity = running.pop(ended)
                if (error := ended.exception()) is not None:
                    failed[identity] = error
    for node in nodes:
        if node.id in failed:
            raise failed[node.id]
