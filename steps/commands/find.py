"""The restore point, or the one repository, that a command line names, and how it names them."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import click

from runner.base.errors import UsageError
from runner.job.model import Job
from steps.commands import scope
from steps.commands.asked import Place
from steps.repository import lookup
from steps.repository.naming import Names

point_argument = click.argument("point")
disk_option = click.option(
    "--disk", "disks", type=int, multiple=True, metavar="KEY", help="Only this disk; may be repeated."
)

accept_option = click.option(
    "--accept-suspect", is_flag=True, help="Use POINT even if it is suspect or damaged, without asking."
)

all_vms_option = click.option("--all-vms", is_flag=True, help="All VMs of the repository, not only JOB's.")


def one(places: Sequence[Place]) -> Place:
    """Raises UsageError where there are several."""
    if len(places) > 1:
        raise UsageError(
            f"the job has the repositories {', '.join(place.name for place in places)}: add --repository NAME"
        )
    return places[0]


def find_point(site: Job, places: Sequence[Place], name: str) -> tuple[Place, str]:
    """The repository that has the point, and the absolute path of the point's directory there; ``latest`` is
    that of the VM that the job `site` is about. Where the newest was asked for and another one is meant, that
    is said. Raises NoSuchPointError, AmbiguousPointError, AmbiguousVmError, SeveralVmsError, NoScopeError,
    NotARepositoryError."""
    found = [
        (place, one)
        for place in places
        for one in lookup.candidates(place.host, place.path, _of_whom(site, place, name))
    ]
    if not found:
        where = " and ".join(f"{place.path} on {place.host.name}" for place in places)
        raise lookup.NoSuchPointError(name, where)
    having = list(dict.fromkeys(place.name for place, _ in found))
    if len(having) > 1:
        raise UsageError(f"the repositories {' and '.join(having)} have {name!r}: add --repository NAME")
    place, one = found[0]
    if len(found) > 1:
        raise lookup.ambiguous(place.host, name, [one.path for _, one in found])
    if one.note is not None:
        print(f"! {one.note}", file=sys.stderr)
    return place, one.path


def _of_whom(site: Job, place: Place, name: str) -> str:
    """``latest``, of the VM of the job, where the job is that of one."""
    if name != lookup.LATEST or not scope.named(site).names:
        return name
    vms = scope.chosen(site, Names.read(place.host, place.path), (), all_vms=False)
    return f"{vms[0].uuid}/{name}" if len(vms) == 1 else name
