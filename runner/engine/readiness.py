"""The look that a run takes before it changes anything: whether something keeps it from beginning."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from runner.base.errors import SendenseError
from runner.engine.walk import Visit
from runner.events.check_results import Observation
from runner.step.space import Space, summed


class Unready(SendenseError):
    """What is wrong with one node, which a run would meet only after it changed something."""

    def __init__(self, observations: Sequence[Observation]) -> None:
        sentences = [one.sentence for one in observations]
        begin = "" if len(sentences) == 1 else f"{len(sentences)} problems: "
        super().__init__(f"{begin}{'; '.join(sentences)}; nothing was changed")
        self.fix_first = not any(one.passing for one in observations)
        self.shared = next((one.shared for one in observations if one.shared), "")


@dataclass(frozen=True)
class Fault:
    """What keeps a run from beginning, and the node (its id, and its kind of step) whose it is."""

    node: str
    step: str
    error: SendenseError


class NotReady(SendenseError):
    """A run does not begin, and has changed nothing. `faults`: each thing once, at the first node that meets
    it."""

    def __init__(self, faults: Sequence[Fault]) -> None:
        self.faults = tuple(faults)
        super().__init__("; ".join(f"{fault.node}: {fault.error}" for fault in faults))


def require_ready(walk: Iterable[Visit]) -> None:
    """Raises NotReady; where another run holds a lock, with that only: it may be over soon."""
    faults: dict[tuple[str, str], list[Observation]] = {}
    told: set[str] = set()
    space: list[Space] = []
    writers: dict[tuple[str, str], tuple[str, str]] = {}

    def tell(node: tuple[str, str], seen: Iterable[Observation]) -> None:
        for one in seen:
            if one.state == "wrong" and one.sentence not in told:
                told.add(one.sentence)
                faults.setdefault(node, []).append(one)

    for visit in walk:
        node = (visit.name, visit.kind.name)
        if visit.locked is not None:
            raise NotReady([Fault(*node, visit.locked)])
        tell(node, (*visit.observations, *visit.met))
        if visit.found.space is not None:
            space.append(visit.found.space)
            writers.setdefault((visit.found.space.host, visit.found.space.path), node)
    for needed in summed(space):
        if needed.problem is not None:
            # It is told at the first node that writes there.
            tell(writers[needed.host, needed.path], (needed.observation(),))
    if faults:
        raise NotReady([Fault(*node, Unready(observations)) for node, observations in faults.items()])
