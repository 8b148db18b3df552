"""A job as values: what is left of a job file once it was read, merged and checked."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from pydantic import JsonValue

from runner.base.errors import Problem
from runner.base.model import HostName, JobModel
from runner.base.yaml_nodes import NOWHERE, Location
from runner.hosts.spec import HostSpec, RoomLimits, SshSpec
from runner.hosts.state_place import StatePlace
from runner.step.items import Where
from runner.step.section import Section

if TYPE_CHECKING:  # most jobs have none of these keys
    from runner.job.fleet import Fleet
    from runner.job.keys import Notify, Priority
    from runner.job.schedule import Schedule

LOCAL: Literal["local"] = "local"
"""The host that every job has: the machine `sendense` runs on."""

DEFAULT_RETRIES = 5

KEY_FIELDS = ("key", "id", "moref", "name")
"""The first of these that an element of an `each` has names its node; a number or a text names itself."""

When = Literal["success", "always"]


@dataclass(frozen=True)
class StepSpec:
    """One entry of `steps`."""

    id: str
    uses: str
    with_: Mapping[str, JsonValue] = field(default_factory=dict)
    """As written: expressions are still text. Paths are absolute."""
    each: tuple[tuple[str, str], ...] = ()
    """Variable and expression (``${{ discover.disks }}``), in order; a later expression may use an earlier
    variable."""
    needs: tuple[str, ...] = ()
    when: When = "success"
    retries: int = DEFAULT_RETRIES
    location: Location = NOWHERE

    def paired(self, other: StepSpec) -> int:
        """How many of `other`'s variables, counted from its first, this step shares: same name, same
        expression. On these a reference from this step to `other` pairs node by node; over the rest of them
        this step gets a list."""
        mine = dict(self.each)
        count = 0
        for name, expression in other.each:
            if mine.get(name) != expression:
                break
            count += 1
        return count


class StateSpec(JobModel):
    """Where run, node and ledger records are kept."""

    host: HostName = LOCAL
    """Which one keeps them."""
    path: str
    """Absolute. In a job file it may be relative to that file if the host is this machine."""


class StateIn(JobModel):
    """``in: repositories.main``: with what that entry of a section stands for, on its host."""

    in_: str
    """``<section>.<entry>``, such as ``repositories.main``: its host, and the place there for records."""

    @property
    def section(self) -> str:
        return self.in_.partition(".")[0]

    @property
    def entry(self) -> str:
        return self.in_.partition(".")[2]


@dataclass(frozen=True)
class Selection:
    """``select:`` of a set."""

    section: str
    entry: str
    """``vcenters`` and ``prod`` of ``from: vcenters.prod``: who lists the items."""
    variable: str
    """Which variable of a child has its item's id."""
    where: Where
    at_least: int = 1
    location: Location = NOWHERE


@dataclass(frozen=True)
class Excuse:
    """One entry of ``unprotected:``: items that may be in no job."""

    section: str
    entry: str
    where: Where
    reason: str


@dataclass(frozen=True)
class ChildOf:
    """Which item of which set a child job is for."""

    set: str
    """The name of the set."""
    item: str
    """The item's id."""


@dataclass(frozen=True)
class Job:
    name: str
    """Resolved. Of a child ``<set>/<slug of the item's name>-<the item's id>``."""
    vars: Mapping[str, JsonValue]
    hosts: Mapping[str, HostSpec]
    """`local` is always there."""
    sections: Mapping[str, Mapping[str, Section]]
    """``sections["repositories"]["main"]``; each installed section is there, perhaps empty."""
    state: StateSpec | StateIn | None
    steps: tuple[StepSpec, ...]
    """In file order."""
    file: str
    digest: str
    """SHA-256 (hex) over the contents of all files that were read."""
    digests: Mapping[str, str]
    """Of each of them alone, as sha256sum(1) tells it, by its name."""
    notes: tuple[Problem, ...] = ()
    """What is no mistake and yet not as it should be written."""
    select: Selection | None = None
    """None for a job that is no set. A set has no run of its own: each of its children has."""
    child_of: ChildOf | None = None
    given: frozenset[str] = frozenset()
    """The names of the variables that its user wrote, in these files or with --set: all others are defaults
    of a template."""
    priority: Priority | None = None
    rpo: float | None = None
    """Seconds: how old the newest good point may be."""
    schedule: Schedule | None = None
    slots: StateSpec | StateIn | None = None
    """Where runners tell each other what they take of which limit."""
    fleet: Fleet | None = None
    notify: Notify | None = None
    unprotected: tuple[Excuse, ...] = ()
    local_limits: RoomLimits = field(default_factory=RoomLimits)
    """Of this machine, whatever names the job has for it beside `local`."""

    def room_limits(self, host: str) -> RoomLimits:
        """Of a host of the job."""
        spec = self.hosts.get(host, LOCAL)
        return spec.limits if isinstance(spec, SshSpec) else self.local_limits

    @property
    def key(self) -> str:
        """What its runs are kept under: the name, but of a child what stays when its item is renamed."""
        return self.name if self.child_of is None else f"{self.child_of.set}@{self.child_of.item}"

    @property
    def state_place(self) -> StatePlace | None:
        """None where the job does not say: it is this machine's own then."""
        return self._place(self.state)

    @property
    def slots_place(self) -> StatePlace | None:
        """None where the job does not say."""
        return self._place(self.slots)

    def _place(self, of: StateSpec | StateIn | None) -> StatePlace | None:
        if isinstance(of, StateIn):
            place = self.sections[of.section][of.entry].state_place()
            assert place is not None, "a job was read that names a place which is none"
            return place
        return None if of is None else StatePlace(of.host, of.path)
