"""The restore point, or the one repository, that a command line names, and how it names them."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import click

from runner.base.errors import UsageError
from runner.job.model import Job
from steps.commands import scope
from steps.points.place import Place
from steps.points.places import Chosen, find, find_first
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
    that of the VM that the job `site` is about. Of several the first where nothing speaks against the point.
    Where the newest was asked for and another one is meant, or another repository than the first is taken,
    that is said. Raises what `places.find` does, and NoScopeError."""
    chosen = choose_point(site, places, name)
    return chosen.place, chosen.path


def choose_point(site: Job, places: Sequence[Place], name: str) -> Chosen:
    """As `find_point`, with the other repositories that have it."""
    return _told(site, places, name, find)


def find_first_point(site: Job, places: Sequence[Place], name: str) -> tuple[Place, str]:
    """As `find_point`, of the first repository that has it, in which something is to be done to it."""
    chosen = _told(site, places, name, find_first)
    return chosen.place, chosen.path


def _told(site: Job, places: Sequence[Place], name: str, look: Callable[..., Chosen]) -> Chosen:
    nowhere: list[scope.NoScopeError] = []

    def of_whom(place: Place) -> str | None:
        """``latest``, of the VM of the job, where the job is that of one."""
        if name != lookup.LATEST or not scope.named(site).names:
            return name
        try:
            vms = scope.chosen(site, Names.read(place.host, place.path), (), all_vms=False)
        except scope.NoScopeError as error:
            nowhere.append(error)
            return None
        return f"{vms[0].uuid}/{name}" if len(vms) == 1 else name

    try:
        chosen = look(places, name, of_whom)
    except lookup.NoSuchPointError:
        if nowhere:
            raise nowhere[0] from None
        raise
    for note in chosen.notes:
        print(f"! {note}", file=sys.stderr)
    return chosen
