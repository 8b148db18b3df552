"""What a lock makes of a job's retention, by the job file alone. Pure.

A lock that outlasts a rule only delays what the rule deletes. But a chain's points are locked as long as the
newest of them: where no step of the job ever begins another chain, none is deleted as long as there are
backups.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from runner.base.units import DAY, HOUR, written_duration
from runner.step.section import Remark, Use
from steps.repository.retention import Policy


def of(name: str, lock: float, uses: Sequence[Use]) -> Iterator[Remark]:
    """Of the repository called `name`; `lock`: seconds, 0 for none."""
    if not lock:
        return
    locks = f"repository {name} locks restore points for {_duration(lock)}"
    endless = [*_endless_chains(name, locks, uses), *_endless_copies(name, locks, uses)]
    yield from endless
    if not endless:
        yield from _waits(name, locks, lock, uses)


def _endless_chains(name: str, locks: str, uses: Sequence[Use]) -> Iterator[Remark]:
    for use in uses:
        mode, every = use.told.get("mode"), use.told.get("full_every")
        if use.told.get("repository") != name or every is None or mode not in ("auto", "incremental"):
            continue
        if mode == "auto" and (every.days or every.points):
            continue
        also = "" if mode == "auto" else " and mode: auto"
        text = (
            f"{locks}, and all that they are backed by as long: in a chain that only grows nothing is ever "
            f"deleted; set full_every: {{days: 30}}{also}"
        )
        yield Remark(use.step, "full_every", text)


def _endless_copies(name: str, locks: str, uses: Sequence[Use]) -> Iterator[Remark]:
    for use in uses:
        rules = use.told.get("rules", (use.told,))
        for rule in rules if isinstance(rules, tuple) else ():
            to, flatten = (_field(rule, field) for field in ("to", "flatten"))
            if to == name and flatten is None and (rule is not use.told or "flatten" in use.told):
                text = (
                    f"{locks}, and each copy is backed by the one before it: none is ever deleted as long as "
                    "copies are made; set flatten: monthly"
                )
                yield Remark(use.step, "flatten" if rule is use.told else "rules", text)


def _field(rule: Any, field: str) -> Any:
    return rule.get(field) if isinstance(rule, dict) else getattr(rule, field, None)


def _waits(name: str, locks: str, lock: float, uses: Sequence[Use]) -> Iterator[Remark]:
    chain, until = _longest_chain(name, uses)
    for use in uses:
        policy = use.told.get("policy")
        if (
            use.told.get("repository") == name
            and isinstance(policy, Policy)
            and policy.keeps
            and _surely_kept(policy) < lock + chain
        ):
            longest = f", some for {_duration(lock + chain)}" if chain else ""
            yield Remark(use.step, "policy", f"{locks}: retention deletes none before that{until}{longest}")


def _longest_chain(name: str, uses: Sequence[Use]) -> tuple[float, str]:
    """In seconds, 0 where that cannot be said; and what its points wait for."""
    of_last = "; those of a chain stay until its newest is unlocked"
    for use in uses:
        mode, every = use.told.get("mode"), use.told.get("full_every")
        if use.told.get("repository") != name or every is None:
            continue
        if mode == "full":
            return 0.0, ""
        return every.days * DAY if every.days and not every.points else 0.0, of_last
    return 0.0, of_last


def _surely_kept(policy: Policy) -> float:
    """Seconds for which rules alone keep every point, where there is one a day."""
    return max(
        (policy.keep_last or 0) * DAY,
        (policy.keep_daily or 0) * DAY,
        (policy.keep_hourly or 0) * HOUR,
    )


def _duration(seconds: float) -> str:
    return f"{seconds / DAY:g} days" if seconds % DAY == 0 else written_duration(seconds)
