"""sendense prune: the points that no rule keeps."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, TextIO

import click
from pydantic import JsonValue

from runner.base.errors import UsageError
from runner.base.units import counted, human_bytes
from runner.cli.options import print_json
from runner.cli.work import Work
from runner.console.tables import print_table
from steps.commands import command_jobs
from steps.commands.asked import Asked, on_repositories, site_argument
from steps.commands.consent import agree
from steps.commands.find import all_vms_option, one
from steps.commands.make_room import Bytes
from steps.commands.make_room import make_room as make_room_by_deleting
from steps.commands.scope import chosen
from steps.maintain.prune import Prune
from steps.points import retention_plan, sharing
from steps.points.place import Place
from steps.points.retention_plan import NoRoomError, VmPlan
from steps.repository.naming import Names
from steps.repository.retention import Policy

PRUNE_SCHEMA_VERSION = 2

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
        "--max-chain",
        type=click.IntRange(2),
        metavar="N",
        help=("The longest chain that a disk may be read from: a full and N - 1 incrementals."),
    )(function)
    for name, words in reversed(RULES.items()):
        function = click.option(f"--keep-{name}", type=click.IntRange(1), metavar="N", help=words)(function)
    return function


@click.command(cls=Work)
@site_argument
@click.argument("vms", nargs=-1, metavar="[VM]…")
@rules
@all_vms_option
@click.option(
    "--dry-run", is_flag=True, help="Show what would be deleted and rebuilt, and why; change nothing."
)
@click.option("--yes", is_flag=True, help="Delete without asking: for cron and CI.")
@click.option(
    "--make-room",
    type=Bytes(),
    metavar="SIZE",
    help="Instead of rules: delete whole old chains until SIZE is free (20 GiB). It rebuilds nothing, so it "
    "needs no room itself.",
)
@on_repositories
def prune(
    asked: Asked,
    vms: tuple[str, ...],
    all_vms: bool,
    dry_run: bool,
    yes: bool,
    make_room: int | None,
    **counts: int | None,
) -> None:
    """Delete the restore points that no rule keeps.

    It prunes the VM of JOB, the VMs named after it, or all VMs if JOB is a part like site.yaml or --all-vms
    is given. It first shows what would be deleted and asks; --yes skips the question, and is required without
    a terminal. Only points that were shown are deleted.

    --make-room is for a disk that is full: it deletes points that nothing which stays is backed by.

    Only points whose every block was compared count; the last good one, protected ones and the parents of an
    unfinished run stay. Before a point is deleted, images backed by it are rebuilt and compared. If the
    command is killed, the same command resumes.
    """
    given = _rules(counts, are_wanted=make_room is None)
    if make_room is not None:
        freed = make_room_by_deleting(asked, vms, make_room, all_vms=all_vms, dry_run=dry_run, yes=yes)
        raise click.exceptions.Exit(freed)
    job = asked.job
    policy = Policy.model_validate({name.replace("-", "_"): count for name, count in given.items()})
    with asked.places() as places:
        place = one(places)
        names = Names.read(place.host, place.path)
        wanted = chosen(job, names, vms, all_vms=all_vms)
        shares = sharing.may_share(place.host, place.path)
        now, brake = datetime.now(UTC), asked.brake(place.name)
        plans = retention_plan.of_vms(place.host, names, wanted, policy, now, shares=shares, brake=brake)
        problems = _problems(place, plans)
    due, refused = [plan for plan in plans if plan.due], _refused(plans)
    if dry_run and asked.as_json:
        found: list[JsonValue] = [plan.to_json_value() for plan in plans]
        _print_document(dry_run=True, vms=found, problems=[*problems])
    else:
        _show(plans, sys.stderr if asked.as_json else sys.stdout, all_points=dry_run)
    for problem in problems:
        print(problem, file=sys.stderr)
    if dry_run:
        raise click.exceptions.Exit(1 if problems or refused else 0)
    if not due:
        code = 1 if refused else 0
        if asked.as_json:
            _print_document(dry_run=False, run=None, exit_code=code, vms=[], refused=refused)
        raise click.exceptions.Exit(code)
    agree(_question(due), given=yes, option="--yes", untouched="nothing was deleted")
    everything = len(wanted) == len(names.vms)
    values: dict[str, JsonValue] = {
        "repository": place.name,
        "vms": [] if everything else [*sorted(plan.instance_uuid for plan in plans)],
        "retention": given,
        "confirmed": {plan.instance_uuid: [*plan.plan.drops] for plan in due},
    }
    raise click.exceptions.Exit(_run(asked, place, values, refused))


def _rules(counts: Mapping[str, int | None], *, are_wanted: bool) -> dict[str, JsonValue]:
    """As a job file has them. Raises UsageError."""
    given: dict[str, JsonValue] = {name.replace("_", "-"): n for name, n in counts.items() if n is not None}
    if given and not are_wanted:
        raise UsageError(
            "--make-room goes by what can be deleted, not by rules: leave out --keep-… and --max-chain"
        )
    if are_wanted and not given:
        raise UsageError("say what to keep: --keep-last N, --keep-daily N, …, or --max-chain N")
    return given


def _run(asked: Asked, place: Place, values: dict[str, JsonValue], refused: list[JsonValue]) -> int:
    """The exit code."""
    file = command_jobs.job_for(asked, "prune", place.name, values, free=("confirmed",))
    # What an unfinished prune decided was not shown now: it is decided again, and what that one left is
    # finished first.
    result, summary = command_jobs.run_made(file, asked.of_run(fresh=True))
    if asked.as_json:
        pruned: list[JsonValue] = [*command_jobs.outputs(summary, Prune.name)]
        told = command_jobs.document(PRUNE_SCHEMA_VERSION, result, summary)
        print_json({**told, "dry_run": False, "vms": pruned, "refused": refused})
    return result.exit_code or (1 if refused else 0)


def _print_document(**told: JsonValue) -> None:
    """Of what was looked at, without a run."""
    print_json({"schema_version": PRUNE_SCHEMA_VERSION, **told})


def _problems(place: Place, plans: Sequence[VmPlan]) -> list[str]:
    free = place.host.free_bytes(place.path)
    return [
        NoRoomError(place.host, plan, free).message for plan in plans if plan.due and free < plan.work.room
    ]


def _refused(plans: Sequence[VmPlan]) -> list[JsonValue]:
    """The VMs that are left alone, and why."""
    return [
        {"vm": plan.label, "instance_uuid": plan.instance_uuid, "why": plan.refused}
        for plan in plans
        if plan.refused is not None
    ]


def _question(due: Sequence[VmPlan]) -> str:
    gone = sum(len(plan.plan.drops) for plan in due)
    what = f"Delete {counted(gone, 'point')}" if gone else "Rebuild these images"
    return f"{what} of {due[0].label if len(due) == 1 else counted(len(due), 'VM')}?"


def _show(plans: Sequence[VmPlan], stream: TextIO, *, all_points: bool) -> None:
    """`all_points`: those that stay too."""
    for plan in plans:
        if plan.refused is not None:
            print(f"{plan.label} is not pruned: {plan.refused}", file=sys.stderr)
        elif plan.braked is not None:
            print(f"{plan.label}: {plan.braked}", file=sys.stderr)
        elif plan.due:
            _show_vm(plan, stream, all_points=all_points)
    due = [plan for plan in plans if plan.due]
    if not due:
        stay = sum(len(plan.plan.decisions) for plan in plans)
        stream.write(f"nothing to delete; {counted(stay, 'point')} kept\n")
        return
    gone, freed = sum(len(plan.plan.drops) for plan in due), human_bytes(sum(plan.work.freed for plan in due))
    rebuilt = sum(len(plan.plan.moves) for plan in due)
    stay = sum(len(plan.plan.decisions) for plan in plans) - gone
    work = f"; {counted(rebuilt, 'image')} would be rebuilt" if rebuilt else ""
    stream.write(f"{counted(gone, 'point')} would be deleted ({freed}), {stay} kept{work}\n")


def _show_vm(plan: VmPlan, stream: TextIO, *, all_points: bool) -> None:
    rows = [
        (decision.point, "keep" if decision.keep else "delete", "; ".join(decision.reasons))
        for decision in plan.plan.decisions
        if all_points or not decision.keep
    ]
    print_table(plan.label, ("point", "what", "why"), rows, stream=stream)
    for move in plan.plan.moves:
        end = "is made a full" if move.onto is None else f"is rebased onto {move.onto}"
        stream.write(f"  disk {move.key} of {move.point}, now backed by {move.parent}, {end}\n")
    if plan.work.copied:
        stream.write(f"  {plan.work.sentence}\n")
    elif any(move.onto is None for move in plan.plan.moves):
        stream.write(f"  {sharing.SHARED}\n")
