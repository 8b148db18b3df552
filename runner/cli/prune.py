"""sendense prune: the points that no rule keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click
from pydantic import JsonValue

from runner.app import Options, run_job
from runner.cli.options import job_options, json_option, options_from, print_json, typed
from runner.cli.repositories import job_for, one, repositories, repository_option, site_argument
from runner.cli.run import stop_on_signals
from runner.console import Console, print_table
from runner.errors import UsageError
from runner.hosts import Host
from runner.step import Registry
from runner.units import counted, human_bytes
from steps import pruning
from steps.pruning import NoRoomError, VmPlan
from steps.repository.retention import Policy

PRUNE_SCHEMA_VERSION = 1

RULES = {
    "last": "The newest N points.",
    "hourly": "The newest point of each of the last N hours that have one.",
    "daily": "The same, of days (UTC).",
    "weekly": "The same, of weeks (ISO 8601).",
    "monthly": "The same, of months.",
    "yearly": "The same, of years.",
}


def rules(function: Callable[..., Any]) -> Callable[..., Any]:
    """--keep-last … --keep-yearly, --max-chain."""
    function = click.option(
        "--max-chain", type=click.IntRange(2), metavar="N", help="Points that a disk is read from, at most."
    )(function)
    for name, words in reversed(RULES.items()):
        function = click.option(f"--keep-{name}", type=click.IntRange(1), metavar="N", help=words)(function)
    return function


@click.command()
@site_argument
@click.argument("vms", nargs=-1, metavar="[VM]…")
@rules
@click.option("--dry-run", is_flag=True, help="Show what would go and what would be rebuilt, and why; change nothing.")
@click.option("--fresh", is_flag=True, help="Abandon the records of an unfinished prune, and begin anew.")
@repository_option
@job_options
@json_option
def prune(
    site: Path,
    vms: tuple[str, ...],
    dry_run: bool,
    fresh: bool,
    repository: str | None,
    settings: tuple[str, ...],
    state: Path | None,
    as_json: bool,
    **counts: int | None,
) -> None:
    """Delete the restore points that no rule keeps.

    Of all VMs, or of those named. Only points whose every block was compared count; the last good one, protected ones and what an unfinished run is built on
    stay. What is built on a point that goes is rebuilt before, and compared. Killed at any moment, the same command goes on.
    """
    given = {name.replace("_", "-"): count for name, count in counts.items() if count is not None}
    if not given:
        raise UsageError("say what stays: --keep-last, --keep-daily, … N, or --max-chain N")
    if as_json and not dry_run:
        raise UsageError("--json shows what --dry-run would do: write both")
    options = options_from(settings, state)
    policy = Policy.model_validate({name.replace("-", "_"): count for name, count in given.items()})
    with repositories(site, options, repository) as places:
        place = one(places)
        if dry_run:
            shares = pruning.may_share(place.host, place.path)
            plans = pruning.plans(place.host, place.path, policy, datetime.now(UTC), vms, shares=shares)
            raise click.exceptions.Exit(_show(place.host, place.path, plans, as_json=as_json))
    values: dict[str, JsonValue] = {"repository": place.name, "vms": list(vms), "retention": dict(given)}
    job = job_for(site, options, "prune", place.name, values)
    with stop_on_signals() as stop, Console(Registry.installed().findings) as console:
        result = run_job(job, Options(state=state, fresh=fresh, typed=typed()), stop, [console])
    raise click.exceptions.Exit(result.exit_code)


def _show(host: Host, root: str, plans: Sequence[VmPlan], *, as_json: bool) -> int:
    """Returns the exit code."""
    free = host.free_bytes(root)
    crowded = [NoRoomError(host, plan, free).message for plan in plans if plan.due and free < plan.work.room]
    if as_json:
        found = [plan.to_json_value() for plan in plans]
        print_json({"schema_version": PRUNE_SCHEMA_VERSION, "vms": found, "problems": list(crowded)})
        return 1 if crowded else 0
    for plan in plans:
        if plan.refused is not None:
            print(f"{plan.vm} is left alone: {plan.refused}", file=sys.stderr)
        elif plan.due:
            _show_vm(plan)
    due = [plan for plan in plans if plan.due]
    gone, freed = sum(len(plan.plan.drops) for plan in due), human_bytes(sum(plan.work.freed for plan in due))
    rebuilt = sum(len(plan.plan.moves) for plan in due)
    stay = sum(len(plan.plan.decisions) for plan in plans) - gone
    click.echo(
        f"{counted(gone, 'point')} would go ({freed}), {stay} {'stays' if stay == 1 else 'stay'}; {counted(rebuilt, 'image')} would be rebuilt"
    )
    for problem in crowded:
        print(problem, file=sys.stderr)
    return 1 if crowded else 0


def _show_vm(plan: VmPlan) -> None:
    rows = [
        (decision.point, "stays" if decision.keep else "goes", "; ".join(decision.reasons))
        for decision in plan.plan.decisions
    ]
    print_table(plan.vm, ("point", "", "why"), rows, stream=sys.stdout)
    for move in plan.plan.moves:
        end = "becomes a full" if move.onto is None else f"is put on {move.onto}"
        click.echo(f"  disk {move.key} of {move.point}, now on {move.parent}, {end}")
    if plan.work.copied:
        click.echo(f"  {plan.work.sentence}")
    elif any(move.onto is None for move in plan.plan.moves):
        click.echo(f"  {pruning.SHARED}")
