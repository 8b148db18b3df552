"""What a job's retention leaves the brake to compare with, by the job file alone. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from runner.step.section import Remark, Use
from steps.brake.usual import LEAST_POINTS
from steps.repository.retention import RULES, Policy


def of(name: str, uses: Sequence[Use]) -> Iterator[Remark]:
    """Of the repository called `name`, which has a brake."""
    for use in uses:
        policy = use.told.get("policy")
        if use.told.get("repository") != name or not isinstance(policy, Policy) or not policy.keeps:
            continue
        if (most := _most(policy)) <= LEAST_POINTS:
            text = (
                f"retention keeps at most {most} of a VM's restore points, too few for the brake to tell "
                f"what is usual: keep {LEAST_POINTS + 1} or more, or set `brake: null` for repository {name}"
            )
            yield Remark(use.step, "policy", text)


def _most(policy: Policy) -> int:
    """Points of one VM that rules keep, at most."""
    return (policy.keep_last or 0) + sum(getattr(policy, rule.field) or 0 for rule in RULES)
