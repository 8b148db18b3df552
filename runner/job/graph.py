"""The graph of a job's steps (before any fan-out): what must be done before what."""

from __future__ import annotations

from collections.abc import Sequence

from runner.base.dag import Dag
from runner.base.errors import UsageError
from runner.job.expressions import references
from runner.job.model import StepSpec
from runner.step.registry import Registry


class CycleError(UsageError):
    """`cycles`: each as ids in the order of waiting, without repeating the first."""

    def __init__(self, cycles: Sequence[tuple[str, ...]]) -> None:
        self.cycles = tuple(cycles)
        super().__init__("; ".join(cycle_sentence(cycle) for cycle in self.cycles))


def cycle_sentence(cycle: tuple[str, ...]) -> str:
    """``a → b → a`` reads: a is needed by b, which is needed by a."""
    return f"steps wait for each other: {' → '.join((*cycle, cycle[0]))}"


def step_references(step: StepSpec) -> tuple[str, ...]:
    """The ids (or what stands in their place) that the step's `with` and `each` name; its own variables are
    none."""
    found: dict[str, None] = {}
    known: set[str] = set()
    for variable, expression in step.each:
        found.update((each.root, None) for each in references(expression) if each.root not in known)
        known.add(variable)
    found.update((each.root, None) for each in references(dict(step.with_)) if each.root not in known)
    return tuple(found)


class StepGraph(Dag[str]):
    """Edges come from references, from `needs`, and from guards: a guard goes before every step that changes
    something, except those that it needs itself. Ids that no step has are left out. Raises CycleError."""

    def __init__(self, steps: Sequence[StepSpec], registry: Registry) -> None:
        super().__init__(step.id for step in steps)
        for step in steps:
            needed = (*step_references(step), *step.needs)
            self.add((name, step.id) for name in needed if name in self)
        if cycles := self.cycles():
            raise CycleError(cycles)
        kinds = {step.id: registry.steps.get(step.uses) for step in steps}
        guards = [name for name, kind in kinds.items() if kind is not None and kind.guard]
        guarded = [name for name, kind in kinds.items() if kind is None or not (kind.guard or kind.read_only)]
        for guard in guards:
            # Looked up again for each guard: the edges of one may make a step an ancestor of the next.
            before = self.ancestors(guard)
            self.add((guard, name) for name in guarded if name not in before)
