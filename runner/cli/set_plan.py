"""sendense plan, of a set. Apart, since one job needs none of it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

import click

from runner.app.options import Options
from runner.app.saved_plan import of_set, save
from runner.app.set_plan import plan_set
from runner.base.errors import UsageError
from runner.cli.options import print_json
from runner.console import set_plan_view
from runner.engine.difference import Difference
from runner.job.model import Job


def show_set(
    job: Job,
    options: Options,
    only: Sequence[str],
    against: Difference | None,
    *,
    as_json: bool,
    shape: str,
    out: Path | None,
) -> tuple[str, ...]:
    """The problems of the plan, which was printed, and saved to `out`."""
    if shape == "mermaid":
        raise UsageError("--format mermaid draws the graph of one job: give --offline too, or render one VM")
    made = plan_set(job, options, only, settled=out is not None).model_copy(update={"against": against})
    if out is not None:
        save(of_set(job, made, only), out)
    if as_json:
        print_json(made.to_json_value())
    elif shape == "md":
        click.echo(set_plan_view.as_markdown(made))
    else:
        set_plan_view.print_text(made, sys.stdout)
    return made.problems
