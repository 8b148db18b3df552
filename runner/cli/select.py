"""sendense select: which items a set finds, and by which rule."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from runner.app.selecting import Selected
from runner.app.selecting import select as selected_by
from runner.cli.options import job_argument, job_options, json_option, only_option, options_from, print_json
from runner.console.select_view import print_selected
from runner.step.items import Item, LeftOut

SELECT_SCHEMA_VERSION = 1


@click.command()
@job_argument
@job_options
@only_option
@json_option
def select(
    job: Path, settings: tuple[str, ...], state: Path | None, only: tuple[str, ...], as_json: bool
) -> None:
    """List the VMs that a set selects, and by which rule.

    Also which it leaves out and why, and which of its rules fit nothing. Exit code 1 if there are fewer than
    `at-least`, or if something that decides it could not be read. It logs in to the vCenter that the job
    file names: not for files that are not trusted.
    """
    found = selected_by(job, options_from(settings, state), only)
    if as_json:
        print_json(_document(found))
    else:
        print_selected(found.job.name, found.source, found.noun, found.items, found.wanted, sys.stdout)
    if found.error is not None:
        raise found.error


def _document(found: Selected) -> dict[str, Any]:
    items = found.items
    return {
        "schema_version": SELECT_SCHEMA_VERSION,
        "set": found.job.name,
        "from": found.source,
        "at_least": found.selection.at_least,
        "selected": len(items.chosen),
        "items": [_item(item) for item in found.wanted],
        "left_out": [_left_out(one, "rule" if one.by_rule else "state") for one in items.left_out],
        "unread": [_left_out(one, "unread") for one in items.unread],
        "unfit": dict(items.unfit),
        "error": None if found.error is None else found.error.message,
    }


def _item(item: Item) -> dict[str, Any]:
    stands_on = {kind: [one.name for one in footings] for kind, footings in item.stands_on.items()}
    return {
        "id": item.id,
        "name": item.name,
        "path": item.path,
        "rule": item.rule,
        "stands_on": stands_on,
        "facts": dict(item.facts),
    }


def _left_out(one: LeftOut, by: str) -> dict[str, Any]:
    return {**_item(one.item), "why": one.why, "by": by}
