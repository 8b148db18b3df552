"""sendense notify: whether those who are to be told can be."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from runner.app.options import Options, read_job
from runner.base.errors import UsageError
from runner.cli.options import json_option, print_json
from runner.console.tables import print_table
from steps.notices.sending import send
from steps.notices.wording import Notice

NOTIFY_SCHEMA_VERSION = 1


@click.command()
@click.argument("site", metavar="SITE", type=click.Path(path_type=Path))
@click.option("--test", is_flag=True, required=True, help="Send a notice that says it is a test.")
@json_option
def notify(site: Path, test: bool, as_json: bool) -> None:
    """Send a test notice to those who are told of failures.

    They are the services that `notify:` of SITE names, a job or the part that jobs include. The exit code is
    1 unless all of them took it.
    """
    job = read_job(site, Options(), part=True)
    if job.notify is None:
        raise UsageError(
            f"{site} has no `notify:`; add `notify: {{to: [{{env: NAME}}]}}`, with a URL in NAME"
        )
    title = f"sendense: test of {job.name or site.name}"
    body = "This is a test. Failures, recoveries and points older than their rpo are told here."
    sent = send(Notice(title, body, good=True), job.notify.to)
    if as_json:
        told = [{"to": one.to, "sent": not one.why_not, "error": one.why_not} for one in sent]
        print_json({"schema_version": NOTIFY_SCHEMA_VERSION, "notices": told})
    else:
        rows = [(one.to, f"not sent: {one.why_not}" if one.why_not else "sent") for one in sent]
        print_table("", ("to", ""), rows, stream=sys.stdout)
    if any(one.why_not for one in sent):
        raise click.exceptions.Exit(1)
