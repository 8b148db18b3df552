"""Options that several commands share, and what they become."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.app.options import Options
from runner.base.errors import UsageError
from runner.job.load import is_part
from runner.job.model import Job
from runner.step.registry import Registry

Function = TypeVar("Function", bound=Callable[..., Any])

job_argument = click.argument("job", type=click.Path(path_type=Path))


def _without_parts(
    context: click.Context, argument: click.Parameter, paths: tuple[Path, ...]
) -> tuple[Path, ...]:
    """``jobs/*.yaml`` names what the jobs there include too. Where there is nothing else, `load` says what it
    is."""
    if len(paths) < 2:
        return paths
    registry = Registry.installed()
    jobs = tuple(path for path in paths if not is_part(path, registry))
    for part in [path for path in paths if jobs and path not in jobs]:
        print(f"{part}: skipped, it is a part that jobs include", file=sys.stderr)
    return jobs or paths


jobs_argument = click.argument(
    "jobs", nargs=-1, required=True, type=click.Path(path_type=Path), metavar="JOB…", callback=_without_parts
)
json_option = click.option(
    "--json", "as_json", is_flag=True, help="Print one JSON document on standard output."
)

only_option = click.option(
    "--only",
    multiple=True,
    metavar="NAME",
    help="Of a set: only the VM of that name, path or uuid, or all whose names are like `web-*`; may be "
    "repeated.",
)


def set_option(what: str) -> Callable[[Function], Function]:
    return click.option("--set", "settings", multiple=True, metavar="NAME=VALUE", help=what)


def job_options(function: Function) -> Function:
    """--set and --state, which say which job and which state."""
    function = set_option("Set a variable of the job; may be repeated.")(function)
    return click.option(
        "--state",
        type=click.Path(path_type=Path, file_okay=False),
        help="Where the records of runs are kept, for jobs without `state:`; for jobs whose `state:` is "
        "on another host, only the events.  [default: $XDG_STATE_HOME/sendense]",
    )(function)


def require_set_for(only: tuple[str, ...], job: Job | None) -> None:
    """Raises UsageError for an --only of a job that is no set."""
    if only and (job is None or job.select is None):
        raise UsageError("--only names VMs of a set, and this is one job: it has no `select`")


def renamed_option(old: str, new: str, **more: Any) -> Callable[[Function], Function]:
    """The earlier name of an option: refused with the new one."""

    def refuse(context: click.Context, option: click.Parameter, value: object) -> None:
        if value:
            raise UsageError(f"{old} was renamed to {new}")

    # A name of its own: that of the option may be an argument's (`jobs`).
    name = f"renamed_{old.strip('-')}"
    return click.option(old, name, hidden=True, expose_value=False, is_eager=True, callback=refuse, **more)


def options_from(settings: tuple[str, ...], state: Path | None, **more: Any) -> Options:
    """Raises UsageError for a --set that is not NAME=VALUE."""
    return Options(overrides=overrides_of(settings), state=state, **more)


def overrides_of(settings: tuple[str, ...]) -> dict[str, str]:
    """Raises UsageError for one that is not NAME=VALUE."""
    overrides = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals or not name:
            raise UsageError(f"--set {setting}: write NAME=VALUE")
        overrides[name] = value
    return overrides


def typed(*more: str) -> str:
    """The command line that resumes what this command began: its own words with `more` options, without
    --fresh, which would discard that."""
    words = click.get_current_context().find_root().obj
    return shlex.join(("sendense", *(word for word in words if word != "--fresh"), *more))


def print_json(document: object) -> None:
    """Text stays readable; what is not printable is escaped, in the only place where JSON has any: in
    texts."""
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if not text.replace("\n", "").isprintable():
        text = "".join(
            each if each == "\n" or each.isprintable() else json.dumps(each)[1:-1] for each in text
        )
    click.echo(text)
