"""sendense restore: a restore point as files, or as a new VM in vCenter."""

from __future__ import annotations

from typing import Any

import click

from runner.cli.options import renamed_option
from runner.cli.work import Work
from steps.commands import restore_files, restore_vm
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.find import accept_option, disk_option, point_argument
from steps.commands.restore_job import Wanted


@click.command(cls=Work)
@site_argument
@point_argument
@click.option("--to", "place", metavar="DIR|HOST:DIR", help="Write files there; HOST is a host of the job.")
@click.option("--to-vcenter", metavar="NAME", help="Make a new VM in this vCenter of the job.")
@disk_option
@click.option("--dry-run", is_flag=True, help="Show what would be done; change nothing.")
@renamed_option("--plan", "--dry-run", is_flag=True)
@click.option("--fresh", is_flag=True, help="Discard an unfinished restore, and start over.")
@accept_option
@restore_files.file_options
@restore_vm.vm_options
@on_repositories
def restore(
    asked: Asked,
    point: str,
    place: str | None,
    to_vcenter: str | None,
    disks: tuple[int, ...],
    dry_run: bool,
    fresh: bool,
    accept_suspect: bool,
    **options: Any,
) -> None:
    """Restore POINT as files, or as a new VM in vCenter.

    POINT is a restore point's name or any unambiguous prefix of it, VM/POINT, or its path; VM, VM/latest, or
    latest where there is one VM, is the newest good point. What is restored is read back and compared with
    what was read at the source; no file and no VM gets its final name before. After a failure the same
    command resumes.

    With --to-vcenter all of the VM comes back: disks, devices and settings, NVRAM and boot order; --dry-run
    shows it side by side with the old one.
    """
    wanted = Wanted(asked, point, disks, dry_run, fresh, accept_suspect)
    if (place is None) == (to_vcenter is None):
        raise click.UsageError("give --to DIR to write files, or --to-vcenter NAME to make a VM")
    if place is not None:
        restore_vm.refuse(options)
        restore_files.restore(wanted, place, restore_files.taken(options))
    elif to_vcenter is not None:
        restore_files.refuse(options)
        restore_vm.restore(wanted, to_vcenter, restore_vm.taken(options))
