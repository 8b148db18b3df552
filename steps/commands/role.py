"""sendense role: which privileges the vCenter account needs, on what."""

from __future__ import annotations

import click

from runner.cli.options import json_option, print_json
from steps.vsphere import roles
from steps.vsphere.roles import Grant

ROLE_SCHEMA_VERSION = 1


@click.command()
@click.option(
    "--restore",
    is_flag=True,
    help="The role of an account for restores into vCenter and rollbacks, instead of the one for backups.",
)
@json_option
def role(restore: bool, as_json: bool) -> None:
    """Show the vCenter privileges that an account needs.

    An account for backups reads VMs and makes snapshots; one for restores and rollbacks writes, and need not
    be known to what runs each night. Asks no vCenter: `sendense doctor JOB` says what an account lacks.
    """
    name, grants = ("sendense-restore", roles.restore()) if restore else ("sendense-backup", roles.backup())
    if as_json:
        print_json(
            {"schema_version": ROLE_SCHEMA_VERSION, "role": name, "grants": list(map(_document, grants))}
        )
        return
    click.echo(f"Role {name}. Its account also has the role {roles.READ_ONLY}.")
    for grant in grants:
        click.echo()
        click.echo(f"on {grant.on}{f', {grant.when}' if grant.when else ''}:")
        for privilege in grant.privileges:
            click.echo(f"    {privilege}")
        if grant.beware:
            click.echo(f"    (so it also {grant.beware})")


def _document(grant: Grant) -> dict[str, object]:
    return {
        "on": grant.on,
        "when": grant.when or None,
        "privileges": list(grant.privileges),
        "beware": grant.beware or None,
    }
