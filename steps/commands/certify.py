"""sendense certify: what the simulator assumes of a vCenter, tried on a real one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click

from runner.app.options import read_job
from runner.app.outside import context_outside_of_runs
from runner.base.errors import UsageError
from runner.base.printable import printable
from runner.base.units import human_bytes
from runner.cli.options import json_option, options_from, print_json
from runner.cli.signals import StopRequest, stop_on_signals
from runner.cli.work import Work
from runner.job.model import Job
from steps.certify import table
from steps.certify.place import Chosen, choose
from steps.certify.report import SCHEMA_VERSION, VERDICTS, Behaviour, Report
from steps.certify.run import certify as try_all
from steps.certify.scratch import CAPACITY
from steps.commands.asked import tell_warning
from steps.commands.consent import agree
from steps.vsphere.client import vcenter


@click.command(cls=Work)
@click.argument("site", metavar="SITE", type=click.Path(path_type=Path))
@click.option(
    "--scratch-folder",
    "folder",
    metavar="FOLDER",
    required=True,
    help="VM folder for the scratch VM, such as DC1/vm/scratch; nothing else is touched.",
)
@click.option(
    "--datastore",
    metavar="NAME",
    default="",
    help="Where its files go.  [default: the datastore with the most room]",
)
@click.option("--vcenter", "name", metavar="NAME", help="Which of the site's vCenters, if there are several.")
@click.option("--dry-run", is_flag=True, help="Say what would be tried, and look at folder and privileges.")
@click.option("--yes", is_flag=True, help="Make the scratch VM without asking.")
@json_option
def certify(
    site: Path, folder: str, datastore: str, name: str | None, dry_run: bool, yes: bool, as_json: bool
) -> None:
    """Try on your vCenter what Sendense's simulator only assumes.

    Makes a small scratch VM without a network in one folder, tries each behaviour that rests on reports or
    assumptions, and removes all that it made. Says of each: as assumed, other (what was seen), or not tried
    (why). The report holds no name, address or uuid, so that you can send it to us. Exit code 0 whenever it
    could look.

    A certify that was killed leaves its scratch VM: the next one in that folder removes it, and so does
    `sendense sweep SITE --orphans`.
    """
    job = read_job(site, options_from((), None), part=True)
    stop = StopRequest()
    with context_outside_of_runs(job, "certify", stop, tell_warning) as ctx:
        client = vcenter(ctx, _which(job, name))
        chosen = choose(client, folder, datastore)
        if dry_run:
            _foresee(chosen, as_json=as_json)
            return
        agree(_question(chosen), given=yes, option="--yes", untouched="nothing was made")
        with stop_on_signals("the scratch VM is removed", stop):
            report = try_all(client, chosen, ctx.run.id, _told(as_json=as_json))
    if as_json:
        print_json(report.to_json_value())
    else:
        click.echo(_summary(report))


def _which(job: Job, wanted: str | None) -> str:
    """Raises UsageError."""
    names = list(job.sections.get("vcenters", {}))
    if not names:
        raise UsageError(f"{job.file} names no vCenter: add `vcenters:`")
    if wanted is None and len(names) > 1:
        raise UsageError(
            f"{job.file} names {len(names)} vCenters: choose one of {', '.join(names)} with --vcenter"
        )
    if wanted is not None and wanted not in names:
        raise UsageError(f"{job.file} has no vCenter {wanted!r}; it has {', '.join(names)}")
    return wanted or names[0]


def _question(chosen: Chosen) -> str:
    return (
        f"Make a scratch VM with a disk of {human_bytes(CAPACITY)} in folder {chosen.folder} on datastore "
        f"{chosen.datastore}, take snapshots of it, power it on and off, and remove it?"
    )


def _foresee(chosen: Chosen, *, as_json: bool) -> None:
    tried = [Behaviour(number=one.number, what=one.what, verdict="not tried") for one in table.TRIALS]
    if as_json:
        document = {"schema_version": SCHEMA_VERSION, "would_try": [one.to_json_value() for one in tried]}
        print_json({**document, "folder": chosen.folder, "datastore": chosen.datastore})
        return
    for one in tried:
        click.echo(f"would try  {one.number:>3}  {one.what}")
    click.echo(f"{len(tried)} behaviours, with a scratch VM in {chosen.folder} on {chosen.datastore}")


def _told(*, as_json: bool) -> Callable[[Behaviour], None]:
    """Each behaviour as soon as it was tried: on standard error where the answer is a document."""

    def tell(one: Behaviour) -> None:
        seen = f": {one.seen}" if one.seen else ""
        click.echo(printable(f"{one.verdict:<10}  {one.number:>3}  {one.what}{seen}"), err=as_json)

    return tell


def _summary(report: Report) -> str:
    counts = ", ".join(f"{report.count(verdict)} {verdict}" for verdict in VERDICTS)
    return f"{len(report.behaviours)} behaviours of {report.product} on {report.storage}: {counts}"
