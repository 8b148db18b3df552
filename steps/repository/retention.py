"""Which restore points stay, which go, why, and what must be rebuilt so that they can. Pure.

A rule keeps the newest good point of each of its periods. Good is what was read back and compared whole, with
all that it is built on, and nothing was found against any of it (`chains`): only such points count. What is
not good takes no place of a good one, and stays as long as it would if it were. Newest is what was published
last (`history.oldest_first`), whatever a clock said. A point's period is that of its `Manifest.moment`: of
its snapshot, unless the vCenter's clock was wrong. Times are UTC.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from runner.base.model import JobModel, Model
from runner.step.setting import Setting
from steps.repository.chains import Chains
from steps.repository.history import Entry, History, children

Count = Annotated[int, Field(ge=1)]


class Policy(JobModel):
    """``{keep-last: 3, keep-daily: 7, keep-monthly: 12}``; what no rule keeps goes. Without any, everything
    stays."""

    keep_last: Count | None = None
    """The newest so many."""
    keep_hourly: Count | None = None
    """The newest of each of the last so many hours that have one."""
    keep_daily: Count | None = None
    """The same, of days (UTC)."""
    keep_weekly: Count | None = None
    """The same, of weeks (ISO 8601)."""
    keep_monthly: Count | None = None
    """The same, of months."""
    keep_yearly: Count | None = None
    """The same, of years."""
    max_chain: Annotated[int, Field(ge=2)] | None = None
    """Points that one disk is read from, at most: what would be on top of more becomes a full."""

    @property
    def keeps(self) -> bool:
        """Whether it has any rule of what stays."""
        return self.keep_last is not None or any(getattr(self, rule.field) is not None for rule in RULES)


def settings(told: Mapping[str, Any]) -> tuple[Setting, ...]:
    """Of a step that carries out the policy among its fields."""
    if not isinstance(policy := told.get("policy"), Policy):
        return ()
    rules = [f"{name} {value}" for name, value in policy.to_json_value().items() if value is not None]
    rest = (
        "; what no rule keeps is deleted"
        if policy.keeps
        else "; no rule says what to keep, so every point is kept"
    )
    change = (
        "restore points that the new rules do not keep are deleted after the next successful backup"
        if policy.keeps
        else ""
    )
    return (
        Setting(
            name="retention", text=", ".join(rules) + rest if rules else rest.lstrip("; "), change=change
        ),
    )


@dataclass(frozen=True)
class _Rule:
    field: str
    period: Callable[[datetime], str]


RULES = (
    _Rule("keep_hourly", lambda at: f"{at:%Y-%m-%d %H}h"),
    _Rule("keep_daily", lambda at: f"{at:%Y-%m-%d}"),
    _Rule("keep_weekly", lambda at: f"{at:%G-W%V}"),
    _Rule("keep_monthly", lambda at: f"{at:%Y-%m}"),
    _Rule("keep_yearly", lambda at: f"{at:%Y}"),
)


class Decision(Model):
    """Of one point."""

    point: str
    """Name of the point"""
    keep: bool
    """Whether it stays"""
    reasons: tuple[str, ...]
    """What keeps it, such as `daily 2026-11-23`, or why nothing does"""


class Move(Model):
    """An image that is put on another one, or becomes a full."""

    point: str
    """The point whose image it is"""
    key: int
    """The disk's key"""
    parent: str
    """Its parent now"""
    onto: str | None
    """The point that it is put on; none: it becomes a full"""
    root: str
    """The point with the full at the bottom of its chain, once the moves before this one are done"""


class Plan(Model):
    """What follows from a policy for the points of one VM."""

    decisions: tuple[Decision, ...]
    """Of all points, oldest first"""
    moves: tuple[Move, ...]
    """What is rebuilt, in this order"""
    drops: tuple[str, ...]
    """Points that go, after all of that"""

    def why(self, point: str) -> str:
        """What was decided of it, in words."""
        return next(("; ".join(one.reasons) for one in self.decisions if one.point == point), "")


def keep(
    chains: Chains, policy: Policy, now: datetime, pinned: Mapping[str, str] | None = None
) -> tuple[Decision, ...]:
    """What the rules say of each point, oldest first. `pinned`: points that something else depends on (an
    unfinished run), and what."""
    history = chains.history
    good = [entry for entry in history if chains.good(entry)]
    reasons: dict[str, list[str]] = {entry.point: [] for entry in history}
    for point, why in (*_untouchable(chains, now), *(pinned or {}).items()):
        if why not in reasons.get(point, (why,)):
            reasons[point].append(why)
    if not policy.keeps:
        return tuple(_kept(entry, reasons[entry.point] or ["no rule is given"]) for entry in history)
    if not good:
        return tuple(_kept(entry, reasons[entry.point] or ["there is no good point"]) for entry in history)
    for entry, why in _picked(good, policy):
        reasons[entry.point].append(why)
    counted = {entry.point for entry in good}
    for entry, why in _picked(history, policy):
        if entry.point not in counted:
            reasons[entry.point].append(f"{why}, but not good: it takes no place")
    last = good[-1].point
    reasons[last].append("the last good one")
    for entry in history[history.index(good[-1]) + 1 :]:
        reasons[entry.point].append("newer than the last good one")
    return tuple(
        _kept(entry, reasons[entry.point])
        if reasons[entry.point]
        else Decision(
            point=entry.point,
            keep=False,
            reasons=("no rule keeps it" if entry.point in counted else "not good",),
        )
        for entry in history
    )


def plan(
    chains: Chains,
    policy: Policy,
    now: datetime,
    pinned: Mapping[str, str] | None = None,
    fixed: Collection[str] = (),
) -> Plan:
    """As `keep`, with what follows from it for the images. A full that several chains would need a copy of
    stays, and so does what a broken chain still has. `fixed`: points whose images stay as they are."""
    held = dict(pinned or {})
    while True:
        decisions = keep(chains, policy, now, held)
        kept = {decision.point for decision in decisions if decision.keep}
        shared = _shared_roots(_moves(chains, kept, None, fixed), kept)
        if not shared:
            moves = tuple(_moves(chains, kept, policy.max_chain, fixed))
            drops = tuple(decision.point for decision in decisions if not decision.keep)
            return Plan(decisions=decisions, moves=moves, drops=drops)
        held.update(shared)


def nothing(history: History) -> Plan:
    """Where nothing may be decided: all stays as it is."""
    decisions = tuple(_kept(entry, ["this VM is not pruned"]) for entry in history)
    return Plan(decisions=decisions, moves=(), drops=())


def _kept(entry: Entry, reasons: Sequence[str]) -> Decision:
    return Decision(point=entry.point, keep=True, reasons=tuple(reasons))


def _untouchable(chains: Chains, now: datetime) -> Iterator[tuple[str, str]]:
    for entry in chains.history:
        protection = entry.marks.protected
        if protection is not None and protection.until > now:
            yield entry.point, f"protected until {protection.until:%Y-%m-%d}: {protection.reason}"
        if (why := _damage(chains, entry)) is not None:
            yield entry.point, f"damaged, {_advice(chains, entry)}: {why}"
            for disk in entry.manifest.disks:
                for below in chains.of(entry, disk.key)[1:]:
                    yield below.point, f"{entry.point}, which is damaged, is backed by it"


def _advice(chains: Chains, entry: Entry) -> str:
    """What is to be done with a damaged point: others may be whole though it is not, as their own blocks hide
    the bad ones."""
    for above in children(chains.history, entry.point):
        if chains.broken(above) is None:
            return f"but {above.point} is backed by it, so do not remove it"
    if any(
        chains.doubt(below, disk.key)
        for disk in entry.manifest.disks
        for below in chains.of(entry, disk.key)[1:]
    ):
        return "remove it yourself once its parent was verified"
    return "remove it yourself"


def _damage(chains: Chains, entry: Entry) -> str | None:
    """Why the images of a point cannot be rebuilt, in words; None where they can."""
    verified, compared = entry.marks.verified, entry.marks.against_source
    if verified is not None and not verified.passed:
        return f"verification at rest failed on {verified.at:%Y-%m-%d}"
    if compared is not None and not compared.passed:
        return f"it differed from the VM on {compared.at:%Y-%m-%d}"
    return chains.broken(entry)


def _damaged(chains: Chains) -> Iterator[tuple[str, int]]:
    """Points and disk keys: of what is damaged, and of all that it is built on."""
    for entry in chains.history:
        if _damage(chains, entry) is not None:
            for disk in entry.manifest.disks:
                for one in chains.of(entry, disk.key):
                    yield one.point, disk.key


def _picked(entries: Sequence[Entry], policy: Policy) -> Iterator[tuple[Entry, str]]:
    """`entries` are oldest first."""
    for entry in entries[-policy.keep_last :] if policy.keep_last else ():
        yield entry, "last"
    for rule in RULES:
        periods: set[str] = set()
        for entry in reversed(entries):
            if len(periods) >= (getattr(policy, rule.field) or 0):
                break
            period = rule.period(entry.moment.astimezone(UTC))
            if period not in periods:
                periods.add(period)
                yield entry, f"{rule.field.removeprefix('keep_')} {period}"


def _moves(chains: Chains, kept: set[str], longest: int | None, locked: Collection[str]) -> Iterator[Move]:
    """Each after those that it builds on. What is damaged stays as it is with all that it is built on: of a
    chain that was cut it would be unknown where the damage is."""
    fixed = set(_damaged(chains))
    depths: dict[tuple[str, int], int] = {}
    cut: set[tuple[str, int]] = set()
    links = (
        (len(chain), entry, disk.key, chain)
        for entry in chains.history
        if entry.point in kept
        for disk in entry.manifest.disks
        if (entry.point, disk.key) not in fixed and entry.point not in locked
        for chain in (chains.of(entry, disk.key),)
    )
    for _, entry, key, chain in sorted(links, key=lambda link: link[0]):
        onto = next((below.point for below in chain[1:] if below.point in kept), None)
        depth = 1 if onto is None else depths.get((onto, key), 1) + 1
        if longest is not None and depth > longest:
            onto, depth = None, 1
        depths[(entry.point, key)] = depth
        parent = chain[1].point if len(chain) > 1 else None
        if parent is not None and onto != parent:
            root = next((below.point for below in chain[1:] if (below.point, key) in cut), chain[-1].point)
            if onto is None:
                cut.add((entry.point, key))
            yield Move(point=entry.point, key=key, parent=parent, onto=onto, root=root)


def _shared_roots(moves: Iterable[Move], kept: set[str]) -> dict[str, str]:
    """Fulls that go though two or more images would need a full copy of them, and which."""
    heirs: dict[tuple[str, int], list[str]] = {}
    for move in moves:
        if move.onto is None and move.root not in kept:
            heirs.setdefault((move.root, move.key), []).append(move.point)
    return {
        root: f"{' and '.join(points)} are both backed by it"
        for (root, _), points in heirs.items()
        if len(points) > 1
    }
