"""The status of sets and of sites, as tables and as JSON."""

from __future__ import annotations

import sys
from collections import Counter
from pathlib import Path

import click
from pydantic import JsonValue

from runner.app.statuses import OneStatus, SetStatus, SiteStatus
from runner.base.printable import printable
from runner.base.units import human_bytes, human_seconds
from runner.cli.options import print_json
from runner.console.tables import print_table
from runner.engine.checkpoint import RunRecord
from runner.events.outcomes import ENDINGS, JobOutcome
from runner.report.labels import clock

SET_STATUS_SCHEMA_VERSION = 1


def show_set(found: SetStatus, *, as_json: bool) -> None:
    if as_json:
        print_json({"schema_version": SET_STATUS_SCHEMA_VERSION, **document_of(found)})
        return
    if found.record is None and not found.children:
        click.echo(f"{found.name}: no runs yet ({printable(found.place)} has none)")
        return
    rows = [_row(one) for one in sorted(found.children, key=lambda one: (_state(one) == "done", one.name))]
    columns = ("name", "state", "newest run", "time", "copied", "")
    print_table(f"Set {found.name}", columns, rows, stream=sys.stdout)
    click.echo(f"\n{_in_a_line(found)}")
    _tell_unread(found.children)


def show_site(found: SiteStatus, *, as_json: bool) -> None:
    if as_json:
        jobs: list[JsonValue] = [_document_of(one) for one in found.jobs]
        sets: list[JsonValue] = [document_of(one) for one in found.sets]
        print_json({"schema_version": SET_STATUS_SCHEMA_VERSION, "jobs": jobs, "sets": sets})
        return
    rows = [
        (one.name, _state(one), "" if one.newest is None else _started(one.newest), _file(one.file))
        for one in found.jobs
    ]
    for one in found.sets:
        record = one.record
        started = "" if record is None else f"{clock(record.started)} UTC"
        rows.append((one.name, _in_a_line(one), started, _file("" if record is None else record.file)))
    if not rows:
        click.echo("no runs are remembered here")
        return
    print_table("", ("job", "state", "newest run", "file"), rows, stream=sys.stdout)
    _tell_unread(found.jobs)


def _in_a_line(found: SetStatus) -> str:
    """``running: 10 done, 1 failed; resumable``"""
    counts = Counter(_state(one) for one in found.children)
    told = ", ".join(f"{count:,} {state}" for state, count in counts.most_common())
    if found.holder is not None:
        return f"running ({found.holder}): {told}"
    return told or "no runs yet"


def row_of(found: SetStatus) -> tuple[str, ...]:
    """Of a set among several jobs."""
    started = "" if found.record is None else f"{clock(found.record.started)} UTC"
    return (found.name, _in_a_line(found), "", started, "")


def _row(one: OneStatus) -> tuple[str, ...]:
    last = one.last
    return (
        one.name,
        _state(one),
        "" if one.newest is None else _started(one.newest),
        "" if last is None or last.seconds is None else human_seconds(last.seconds),
        "" if last is None or last.bytes is None else human_bytes(last.bytes),
        _why(one),
    )


def _state(one: OneStatus) -> str:
    newest = one.newest
    if one.holder is not None:
        return "running"
    if (without := _without_run(one)) is not None:
        return ENDINGS[without].word
    if newest is None:
        return "not run yet"
    if newest.phase == "finished":
        return ENDINGS["alarm" if newest.alarms else "done"].word
    if newest.phase == "abandoned":
        return "discarded"
    known = one.last.outcome if one.last is not None and one.last.run == newest.id else ""
    how = f"{ENDINGS[known].word}; " if known in ENDINGS and known != "unfinished" else ""  # type: ignore[index]
    left = ": only the cleanup is left" if newest.phase == "unwinding" else ""
    return f"{how}resumable{left}"


def _without_run(one: OneStatus) -> JobOutcome | None:
    """What came of it last, where that has no run: its newest one is of an earlier night then."""
    newest, last = one.newest, one.last
    if last is None or last.run or (newest is not None and newest.is_unfinished):
        return None
    # One that was killed said nothing, and may have been done.
    return next((known for known in ENDINGS if known == last.outcome and known != "unfinished"), None)


def _why(one: OneStatus) -> str:
    newest = one.newest
    if newest is not None and newest.alarms:
        return "; ".join(newest.alarms)
    older = [record.id for record in one.unfinished if newest is None or record.id != newest.id]
    told = [f"run {run} is unfinished too" for run in older]
    if one.last is not None and one.last.error and _state(one) != "done":
        told.insert(0, one.last.error)
    return "; ".join(told)


def _started(record: RunRecord) -> str:
    return f"{clock(record.started)} UTC"


def _file(path: str) -> str:
    return f"{path} (it is gone)" if Path(path).is_absolute() and not Path(path).exists() else path


def _tell_unread(found: tuple[OneStatus, ...]) -> None:
    for one in found:
        for why in one.unread:
            click.echo(f"! {printable(f'{one.name}: {why}')}", err=True)


def document_of(found: SetStatus) -> dict[str, JsonValue]:
    return {
        "set": found.name,
        "holder": found.holder,
        "record": None if found.record is None else _record(found),
        "children": [_document_of(one) for one in found.children],
    }


def _record(found: SetStatus) -> JsonValue:
    assert found.record is not None, "it has run"
    value = found.record.to_json_value()
    return {name: value[name] for name in ("id", "file", "by", "started", "ended")}


def _document_of(one: OneStatus) -> dict[str, JsonValue]:
    newest = one.newest
    told: dict[str, JsonValue] = {
        "name": one.name,
        "state": _state(one),
        "run": None if newest is None else newest.id,
        "phase": None if newest is None else newest.phase,
        "started": None if newest is None else newest.started.isoformat(),
        "file": one.file,
        "holder": one.holder,
        "unfinished": [record.id for record in one.unfinished],
        "unread": list(one.unread),
        "why": _why(one),
    }
    if one.item:
        told["item"] = one.item
    if one.last is not None:
        told |= {"seconds": one.last.seconds, "bytes": one.last.bytes, "path": one.last.path}
    return told
