"""What a job must have so that its runs may be on other machines, and on which of them."""

from __future__ import annotations

from runner.app.inspection import named_by
from runner.base.errors import UsageError
from runner.job.fleet import DaskFleet
from runner.job.model import LOCAL, Job


def cluster_of(jobs: list[Job]) -> DaskFleet:
    """That of all of them. Raises UsageError."""
    found = {job.file: None if job.fleet is None else job.fleet.dask for job in jobs}
    for file, dask in found.items():
        if dask is None:
            raise UsageError(
                f"{file} has no cluster to run on: its site needs `fleet: {{dask: {{scheduler: …}}}}`, see "
                "`sendense help fleet`"
            )
    clusters = list(dict.fromkeys(dask for dask in found.values() if dask is not None))
    if len(clusters) != 1:
        raise UsageError("the jobs name several clusters: run those of one cluster at a time")
    return clusters[0]


def require_shared_records(job: Job) -> None:
    """Raises UsageError."""
    if job.state is None:
        raise UsageError(
            f"{job.file} keeps the records of its runs on the machine that runs it, so no other could "
            "resume them: give it `state: {in: repositories.…}`"
        )


def node_host(job: Job) -> str:
    """Where the job's disks are read, as workers are told by --host: the host that its steps name which is
    `local` under a name of its own. Empty where any worker may read them."""
    hosts, _ = named_by(job)
    place = job.state_place
    others = {LOCAL, *(() if place is None else (place.host,))}  # the repository's: it is mounted everywhere
    return next((name for name in hosts if name not in others and job.hosts[name] == LOCAL), "")
