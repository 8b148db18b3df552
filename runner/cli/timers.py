"""sendense timers: systemd as the clock of jobs."""

from __future__ import annotations

import os
import pwd
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

import click

from runner.app.options import Options, read_job
from runner.app.secrets_named import secrets_named
from runner.base.errors import UsageError
from runner.base.units import counted
from runner.cli.options import job_options, jobs_argument, json_option, options_from, print_json
from runner.cli.work import Work
from runner.console.diff import print_diff
from runner.engine.job_state import slug
from runner.hosts.secrets import FromEnv, FromFile
from runner.job.model import LOCAL, Job
from runner.job.schedule import Schedule
from runner.step.registry import Registry
from runner.timers.directory import Change, changes
from runner.timers.on_calendar import left_out
from runner.timers.units import PREFIX, Account, Service

TIMERS_SCHEMA_VERSION = 1


def _account(context: click.Context, option: click.Parameter, name: str | None) -> Account:
    try:
        found = pwd.getpwuid(os.geteuid()) if name is None else pwd.getpwnam(name)
    except KeyError:
        raise UsageError(f"there is no account {name or os.geteuid()} here: give --user") from None
    return Account(found.pw_name, found.pw_dir)


@click.command(cls=Work)
@click.argument("directory", type=click.Path(path_type=Path, exists=True, file_okay=False), metavar="DIR")
@jobs_argument
@job_options
@click.option(
    "--user",
    "account",
    metavar="NAME",
    callback=_account,
    help="The account that the jobs run as.  [default: yours]",
)
@click.option("--dry-run", is_flag=True, help="Show what would be written and removed, as a diff.")
@json_option
def timers(
    directory: Path,
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    account: Account,
    dry_run: bool,
    as_json: bool,
) -> None:
    """Write systemd timers that start jobs on schedule.

    For each job with a `schedule:` it writes a timer, and the service that it starts, into DIR:
    /etc/systemd/system, or any other directory to look at them first. Files of secrets become
    credentials, so the account need not be able to read them. The same command again changes what differs,
    and removes the units of jobs whose file or schedule has gone; units that it did not write stay.
    """
    os.environ["HOME"] = account.home  # whose ~ stands in a job file: that of the account that runs it
    options = options_from(settings, state)
    registry = Registry.installed()
    now = datetime.now(UTC)
    texts: dict[str, str] = {}
    for path in (job.absolute() for job in jobs):
        job = read_job(path, options, registry)
        if job.schedule is None:
            print(f"{path}: skipped, {job.name} has no schedule", file=sys.stderr)
            continue
        service = _service(job, job.schedule, account, options)
        made = service.texts(now)
        if not made.keys().isdisjoint(texts):
            raise UsageError(f"{path}: another job is called {job.name} too: give one another name")
        texts |= made
        _warn(service, now)
    found = changes(directory.absolute(), texts, frozenset(str(job.absolute()) for job in jobs))
    if not dry_run:
        for change in found:
            change.carry_out()
    if as_json:
        print_json(_document(found, dry_run))
    elif dry_run:
        print_diff([line for change in found for line in change.diff()], sys.stdout)
    else:
        _say(found, sum(name.endswith(".timer") for name in texts))


def _service(job: Job, schedule: Schedule, account: Account, options: Options) -> Service:
    secrets = secrets_named(job)
    state = [] if options.state is None else [f"--state={options.state.absolute()}"]
    settings = [f"--set={name}={value}" for name, value in options.overrides.items()]
    return Service(
        unit=f"{PREFIX}{slug(job.name)}",
        job=job.name,
        file=job.file,
        schedule=schedule,
        account=account,
        command=(_program(), "run", "--quiet", *settings, *state, job.file),
        directory=str(Path(job.file).parent),
        files=sorted({secret.file for secret in secrets if isinstance(secret, FromFile)}),
        variables=sorted({secret.env for secret in secrets if isinstance(secret, FromEnv)}),
        writes=_writes(job, options),
    )


def _program() -> str:
    """This command itself, wherever it is called from."""
    beside = Path(sys.executable).with_name("sendense")
    return str(beside if beside.exists() else Path(sys.argv[0]).absolute())


def _writes(job: Job, options: Options) -> Sequence[str]:
    """Directories on this machine, beside those in the account's home."""
    found = [] if options.state is None else [str(options.state.absolute())]
    for place in (job.state_place, job.slots_place):
        if place is not None and job.hosts[place.host] == LOCAL:
            found.append(place.path)
    for section in job.sections.values():
        places = [entry.writes() for entry in section.values()]
        found += [place.path for place in places if place is not None and job.hosts[place.host] == LOCAL]
    return found


def _warn(service: Service, now: datetime) -> None:
    for name in service.variables:
        print(
            f"{service.file}: the secret in the environment variable {name} is not there for a service: "
            "write it as {file: …}, which becomes a credential",
            file=sys.stderr,
        )
    for path in service.writes:
        if not Path(path).exists():
            print(
                f"{service.file}: {path} is not there, and the service may not make it: make it, for "
                f"{service.account.name} to write into",
                file=sys.stderr,
            )
    for moment in left_out(service.schedule, now):
        print(
            f"{service.file}: clocks skip {moment:%Y-%m-%d %H:%M} in {service.schedule.timezone}, and "
            "systemd does not start the job on that day: give it a time outside that hour",
            file=sys.stderr,
        )


def _say(found: Sequence[Change], wanted: int) -> None:
    for change in found:
        print(f"{change.path}: {change.what}")
    if not found:
        print(f"nothing to change: {counted(wanted, 'timer')} as they should be")
        return
    started = [change.path.name for change in found if change.after and change.path.suffix == ".timer"]
    gone = [change.path.name for change in found if not change.after and change.path.suffix == ".timer"]
    print("then, as root:")
    for name in gone:
        print(f"  systemctl disable --now {name}")
    print("  systemctl daemon-reload")
    if started:
        print(f"  systemctl enable --now {' '.join(started)}")


def _document(found: Sequence[Change], dry_run: bool) -> dict[str, object]:
    return {
        "schema_version": TIMERS_SCHEMA_VERSION,
        "dry_run": dry_run,
        "units": [{"path": str(change.path), "what": change.what} for change in found],
    }
