"""sendense init: a job's repositories, once."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from runner.base.units import human_bytes
from runner.base.waiting import heeding
from runner.cli.options import job_options, json_option, options_from, print_json
from runner.cli.signals import stop_on_signals
from runner.cli.work import Work
from steps.commands.asked import Asked, site_argument
from steps.lock import told as lock_told
from steps.points import sharing
from steps.points.place import Place
from steps.repository import marker

INIT_SCHEMA_VERSION = 1


@click.command(cls=Work)
@site_argument
@job_options
@json_option
def init(site: Path, settings: tuple[str, ...], state: Path | None, as_json: bool) -> None:
    """Create the job's repositories, once.

    An existing repository is left as it is. A run refuses a path without one, so that backups cannot fill the
    root disk when a disk is not mounted. For the same reason the repository's parent directory must exist.
    """
    told: list[dict[str, Any]] = []
    asked = Asked(site, options_from(settings, state), None, as_json)
    with stop_on_signals("what is not created yet is left") as stop, asked.places(stop) as places:
        for place in heeding(stop, places):
            host, path = place.host, place.path
            there = {"name": place.name, "host": host.name, "path": path}
            if (found := marker.read(host, path)) is not None:
                told.append({**there, "uuid": found.uuid, "made": False})
                click.echo(
                    f"{place.name}: {path} on {host.name} is repository {found.uuid} already", err=as_json
                )
            else:
                told.append({**there, "uuid": _create(place, as_json=as_json), "made": True})
            if why := lock_told.absent(host, path, asked.lock(place.name)):
                click.echo(f"note: {why}", err=True)
    if as_json:
        print_json({"schema_version": INIT_SCHEMA_VERSION, "repositories": told})


def _create(place: Place, *, as_json: bool) -> str:
    """The uuid of the repository that was not there."""
    host, path = place.host, place.path
    made = marker.init(host, path)
    mounted = host.run(["stat", "--format=%m", "--", path]).stdout.decode(errors="replace").strip()
    click.echo(
        f"{place.name}: created an empty repository {made.uuid} in {path} on {host.name}: file "
        f"system {mounted}, {human_bytes(host.free_bytes(path))} free",
        err=as_json,
    )
    if why := sharing.unshared(host, path):
        click.echo(f"note: {why}", err=True)
    return made.uuid
