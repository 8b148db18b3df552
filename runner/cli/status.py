"""sendense status: a job's runs, and how far the newest one is."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app.options import Options, Placed, read_job
from runner.app.status import Status, status_of
from runner.app.statuses import status_of_set, status_of_site
from runner.base.errors import SendenseError, UsageError
from runner.base.printable import printable
from runner.base.units import amount, human_bytes, human_seconds
from runner.cli.job_results import say_error
from runner.cli.options import job_options, jobs_argument, json_option, only_option, options_from, print_json
from runner.cli.set_status import document_of, row_of, show_set, show_site
from runner.console.tables import print_table
from runner.engine.checkpoint import NodeRecord, RunRecord
from runner.events.outcomes import ENDINGS, NODES, JobOutcome, of_several
from runner.events.summary import NodeSummary, RunSummary
from runner.job.children import child
from runner.job.model import Job
from runner.report.labels import clock, failures, in_lines, named
from runner.step.items import Item

STATUS_SCHEMA_VERSION = 1


@click.command()
@jobs_argument
@job_options
@only_option
@json_option
def status(
    jobs: tuple[Path, ...],
    settings: tuple[str, ...],
    state: Path | None,
    only: tuple[str, ...],
    as_json: bool,
) -> None:
    """Show a job's runs and how far each is.

    Of several jobs it shows the newest run of each; of a set, that of each VM; of a site's file without
    steps, of all jobs and sets whose records are where it keeps them. Of a run that is running or can be
    resumed it shows each node and its bytes, if this machine has the run's events; else what its records say.
    With --json several jobs are a list, `jobs`.
    """
    options = options_from(settings, state)
    if len(jobs) == 1:
        job = read_job(jobs[0], options, part=True)
        if only:
            job, options = _child_named(job, options, only)
        elif job.select is not None:
            show_set(status_of_set(job, options), as_json=as_json)
            return
        elif not job.steps:
            show_site(status_of_site(job, options), as_json=as_json)
            return
        found = status_of(job, options)
        if as_json:
            print_json({"schema_version": STATUS_SCHEMA_VERSION, **_document(found)})
        else:
            _show(found)
        return
    if only:
        raise UsageError("--only names VMs of one set: name that set, and no other")
    rows: list[tuple[str, ...]] = []
    documents: list[JsonValue] = []
    codes = []
    for path in jobs:
        try:
            one = read_job(path, options)
            if one.select is not None:
                of_set = status_of_set(one, options)
                rows.append(row_of(of_set))
                documents.append(document_of(of_set))
            else:
                of_job = status_of(one, options)
                rows.append(_job_row(of_job))
                documents.append(_document(of_job))
            codes.append(0)
        except SendenseError as error:
            say_error(path, error, jobs)
            codes.append(error.exit_code)
    if as_json:
        print_json({"schema_version": STATUS_SCHEMA_VERSION, "jobs": documents})
    else:
        print_table("", ("job", "state", "newest run", "started", ""), rows, stream=sys.stdout)
    raise click.exceptions.Exit(of_several(codes))


def _child_named(job: Job, options: Options, only: Sequence[str]) -> tuple[Job, Options]:
    """Raises UsageError."""
    if job.select is None or len(only) > 1:
        raise UsageError("--only takes one VM here: without it the table has every VM of the set")
    found = [one for one in status_of_set(job, options).children if only[0] in (one.name, one.item)]
    if len(found) != 1:
        several = f"; there are {len(found)} of that name, give the id" if found else ""
        raise UsageError(
            f"--only {only[0]}: the set {job.name} has no records of a VM that is called so{several}"
        )
    item = Item(found[0].item, found[0].name, "")
    return child(job, item), replace(options, placed=Placed(item.id))


def _job_row(found: Status) -> tuple[str, ...]:
    if not found.runs:
        return (found.job, "no runs yet", "", "", "")
    newest = found.runs[-1]
    whys = (
        [why.text for why in failures(found.last)]
        if found.last and newest.is_unfinished
        else [*newest.alarms]
    )
    held = [f"held by {run}: {hold.what}" for run, holds in found.held.items() for hold in holds]
    return (
        found.job,
        _word(found, newest),
        newest.id,
        f"{clock(newest.started)} UTC",
        "; ".join([*whys, *held, *found.unread]),
    )


def _show(found: Status) -> None:
    if not found.runs:
        click.echo(f"{found.job}: no runs yet ({printable(found.place)} has none)")
        return
    rows = [
        (record.id, _word(found, record), f"{clock(record.started)} UTC")
        for record in _newest_first(found.runs)
    ]
    print_table(f"Runs of {found.job}", ("run", "state", "started"), rows, stream=sys.stdout)
    if found.running:
        click.echo(f"\nRunning now: {found.holder}.")
    if rows := [
        (run, hold.what, f"{clock(hold.since)} UTC") for run, holds in found.held.items() for hold in holds
    ]:
        click.echo()
        print_table("Held", ("run", "what", "since"), rows, stream=sys.stdout)
    for record in found.runs:
        for alarm in record.alarms:
            click.echo(f"alarm in run {record.id}: {alarm}")
    for why in found.unread:
        click.echo(f"! {printable(why)}", err=True)
    for why in found.unseen:
        click.echo(f"could not be checked: {why}", err=True)
    if found.last is not None and found.runs[-1].phase in ("working", "unwinding"):
        nodes = [_row(found, found.last, line) for line in in_lines(found.last.nodes)]
        click.echo()
        columns = ("node", "state", "time", "done", "read", "read speed", "why")
        print_table("Nodes", columns, nodes, stream=sys.stdout)
        click.echo(f"\nLast event: {clock(found.last.ended)} UTC")
    elif found.recorded:
        nodes = [_recorded_row(found, record) for record in found.recorded]
        click.echo()
        print_table("Nodes", ("node", "state", "since", "why"), nodes, stream=sys.stdout)
        click.echo(
            "\nFrom the run's records. Bytes and speeds are in its events, on the machine that ran it."
        )


def _newest_first(runs: Sequence[RunRecord]) -> list[RunRecord]:
    """Unfinished runs first."""
    return sorted(runs, key=lambda record: (record.is_unfinished, record.id), reverse=True)


def _word(found: Status, record: RunRecord) -> str:
    if record.id == found.running:
        return "running" if record.phase == "working" else "running: cleaning up"
    if record.id == found.died:
        return "died; resumable"
    ended = _outcome(found, record)
    how = "" if ended in (None, "unfinished") else f"{ENDINGS[ended].word}; "
    words = {
        "working": f"{how}resumable",
        "unwinding": f"{how}resumable: only the cleanup is left",
        "abandoned": "discarded",
    }
    return words.get(record.phase, ENDINGS[ended].word if ended is not None else record.phase)


def _outcome(found: Status, record: RunRecord) -> JobOutcome | None:
    """None for a run that was abandoned, and for an unfinished one without events here."""
    if record.phase == "finished":
        return "alarm" if record.alarms else "done"
    if record.is_unfinished and found.last is not None and found.last.run == record.id:
        return found.last.outcome
    return None


def _row(found: Status, last: RunSummary, line: Sequence[NodeSummary]) -> tuple[str, ...]:
    node = line[0]
    state = _state(found, node)
    flows = [flow for flow in last.flows if flow.node == node.node]
    amounts, reads, speeds = [], [], []
    for flow in flows:
        of = "" if flow.total is None else f" of {amount(flow.total, flow.noun)}"
        amounts.append(f"{flow.phase} {amount(flow.done, flow.noun)}{of}")
        reads.append(human_bytes(flow.moved) if flow.noun == "bytes" else "")
        speeds.append("" if flow.speed is None else f"{human_bytes(flow.speed)}/s")
    seconds = "" if node.seconds is None else human_seconds(node.seconds)
    told = (", ".join(each) for each in (amounts, reads, speeds))
    return (named([one.node for one in line]), state, seconds, *told, node.error or node.alarm or node.why)


def _state(found: Status, node: NodeSummary) -> str:
    """What was running when the run was killed runs no more."""
    return "stopped" if node.state == "running" and not found.running else NODES[node.state].word


def _recorded_row(found: Status, record: NodeRecord) -> tuple[str, ...]:
    return (str(record.node), _recorded_state(found, record), f"{clock(record.at)} UTC", record.error or "")


def _recorded_state(found: Status, record: NodeRecord) -> str:
    begun = "running" if found.running else "stopped"
    return {"intent": begun, "forgotten": "waiting"}.get(record.state, record.state)


def _document(found: Status) -> dict[str, JsonValue]:
    runs: list[JsonValue] = [
        {**record.to_json_value(), "outcome": _outcome(found, record)} for record in found.runs
    ]
    held: dict[str, JsonValue] = {
        run: [{"node": hold.node, "what": hold.what, "since": hold.since.isoformat()} for hold in holds]
        for run, holds in found.held.items()
    }
    nodes: list[JsonValue] = []
    for node in found.last.nodes if found.last else ():
        assert found.last is not None
        flows: list[JsonValue] = [
            {
                "phase": flow.phase,
                "noun": flow.noun,
                "done": flow.done,
                "total": flow.total,
                "read": flow.moved,
                "speed": flow.speed,
            }
            for flow in found.last.flows
            if flow.node == node.node
        ]
        nodes.append({"node": node.node, "state": _state(found, node), "error": node.error, "bytes": flows})
    for record in found.recorded:
        state = _recorded_state(found, record)
        nodes.append({"node": str(record.node), "state": state, "error": record.error, "bytes": []})
    return {
        "job": found.job,
        "runs": runs,
        "running": found.running,
        "holder": found.holder,
        "died": found.died,
        "held": held,
        "unread": list(found.unread),
        "nodes": nodes,
    }
