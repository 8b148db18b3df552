"""Which VMs of a repository a command on a job is about: those that were named, by the job or beside it.
Nobody logs in anywhere for it: the job's file tells, or the restore points do."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from pydantic import JsonValue

from runner.base.errors import SendenseError, UsageError
from runner.job.expressions import evaluate
from runner.job.graph import StepGraph
from runner.job.model import Job, StepSpec
from runner.job.nodes import Nodes
from runner.step.registry import Registry
from steps.repository import naming
from steps.repository.naming import AmbiguousVmError, Names
from steps.repository.vm_directory import VmDirectory

_FIELDS = {"discover": "vm", "plan-retention": "vms", "prune": "vm"}
"""Step → the field in which it says of which VMs it is."""


class NoScopeError(UsageError):
    def __init__(self, job: Job, why: str) -> None:
        super().__init__(f"{job.file}: {why}; name the VMs after the job, or give --all-vms")


@dataclass(frozen=True)
class Named:
    """What a job's file says of the VMs that it is about."""

    names: tuple[str, ...]
    everything: bool
    """Of all VMs of its repository: a part such as a site, or a job that prunes without naming any."""


def chosen(job: Job, names: Names, given: Sequence[str], *, all_vms: bool) -> tuple[VmDirectory, ...]:
    """`given`: names written after the job, which count instead of what the job says. Raises NoScopeError,
    NoSuchVmError, AmbiguousVmError, UsageError."""
    if all_vms and given:
        raise UsageError(f"--all-vms means every VM: leave out {', '.join(given)}, or --all-vms")
    if given:
        return names.find_all(given)
    if job.select is not None and not all_vms:
        return _of_set(job, names)
    told = named(job)
    if all_vms or told.everything:
        return names.vms
    found = [_of_job(job, names, name) for name in told.names] if told.names else [_made_by(job, names)]
    return tuple(vm for vm in names.vms if vm in found)


def named(job: Job) -> Named:
    if not job.steps:
        return Named((), True)
    registry = Registry.installed()
    nodes = Nodes(job.steps, StepGraph(job.steps, registry), registry)
    found: dict[str, None] = {}
    for spec in job.steps:
        if spec.uses not in _FIELDS:
            continue
        for value in _values(job, spec, nodes):
            texts = value if isinstance(value, list) else [value]
            if spec.uses == "plan-retention" and not texts:
                return Named((), True)
            found |= dict.fromkeys(text for text in texts if isinstance(text, str))
    return Named(tuple(found), False)


def _values(job: Job, spec: StepSpec, nodes: Nodes) -> Iterator[JsonValue]:
    """Of each of its nodes, as far as the file alone tells."""
    scope: dict[str, JsonValue] = {"vars": dict(job.vars)}
    try:
        for node in nodes.expand(spec.id, scope):
            yield evaluate(spec.with_.get(_FIELDS[spec.uses], []), {**scope, **node.variables})
    except SendenseError:
        return  # it hangs on what another step finds out


def _of_set(job: Job, names: Names) -> tuple[VmDirectory, ...]:
    """Those whose newest point one of its children made: whom the set selects now, the vCenter alone knows.
    Raises NoScopeError."""
    found = tuple(vm for vm in names.vms if (_job_of(vm) or "").startswith(f"{job.name}/"))
    if not found:
        raise NoScopeError(job, f"no VM's newest point is of the set {job.name!r}")
    return found


def _of_job(job: Job, names: Names, name: str) -> VmDirectory:
    """The VM that the job calls so: the one that it backed up last under that name, else one that is called
    so now. Raises NoScopeError, AmbiguousVmError."""
    found = names.now(name)
    own = [vm for vm in names.vms if _job_of(vm) == job.name and (vm in found or _asked(vm) == name)]
    if own:
        return max(own, key=lambda vm: vm.entries[-1].manifest.published)
    if not found:
        made = _told(vm for vm in names.vms if _job_of(vm) == job.name)
        but = f"; points of a job of this name are of {made}" if made else ""
        raise NoScopeError(job, f"there are no points of {name!r}, the VM of this job{but}")
    if len(found) > 1:
        raise AmbiguousVmError(name, found, names.root)
    return found[0]


def _made_by(job: Job, names: Names) -> VmDirectory:
    """The VM of which a job of this name made the newest point. Raises NoScopeError."""
    own = [vm for vm in names.vms if _job_of(vm) == job.name]
    if len(own) == 1:
        return own[0]
    raise NoScopeError(
        job,
        f"its file names no VM, and points of jobs called {job.name!r} are of {_told(own)}"
        if own
        else f"its file names no VM, and no VM's newest point is of a job called {job.name!r}",
    )


def _job_of(vm: VmDirectory) -> str | None:
    return vm.entries[-1].manifest.job if vm.entries else None


def _asked(vm: VmDirectory) -> str:
    """What the job called the VM when it made its newest point: it may have been renamed since, or moved."""
    return vm.entries[-1].manifest.vm.asked


def _told(vms: Iterable[VmDirectory]) -> str:
    return ", ".join(naming.told(vm) for vm in vms)
