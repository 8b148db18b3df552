"""sendense worker, sendense scheduler: the processes of a cluster that `sendense run --on dask` uses."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

from runner.base.errors import UsageError
from runner.cli.signals import stop_on_signals
from runner.cli.work import Work
from runner.job.fleet import TLS_PORT, DaskFleet, tls_address
from runner.job.model import LOCAL
from runner.sets.dask import its_extra

Function = TypeVar("Function", bound=Callable[..., Any])

LEASE = 10.0
"""Seconds. A controller asks each second; one that is started again within them finds its children, and one
that died leaves them this long behind their locks."""


def _address(context: click.Context, option: click.Parameter, value: str) -> str:
    try:
        return tls_address(value)
    except ValueError as error:
        raise UsageError(f"{option.opts[0]} {value}: {error}") from error


def _certificates(function: Function) -> Function:
    """--ca, --cert and --key."""
    file = click.Path(path_type=Path, dir_okay=False)
    for name, text in (
        ("--key", "Its private key, PEM; not readable by others."),
        ("--cert", "The certificate that this process shows, PEM."),
        ("--ca", "The certificate of the CA that signed those of all machines of the cluster, PEM."),
    ):
        function = click.option(name, required=True, type=file, metavar="FILE", help=text)(function)
    return function


@click.command(cls=Work)
@click.option(
    "--listen",
    required=True,
    metavar="tls://HOST[:PORT]",
    callback=_address,
    help=f"The address to listen at, of this machine alone.  [default port: {TLS_PORT}]",
)
@_certificates
def scheduler(listen: str, ca: Path, cert: Path, key: Path) -> None:
    """Run the scheduler of a cluster for `run --on dask`.

    It is Dask's, with mutual TLS and without HTTP. It remembers nothing: when it ends, workers stop their
    children and end, and `sendense run` waits five minutes for its return. Every certificate of its CA runs
    code on every worker.
    """
    with its_extra():
        from runner.sets.dask.serving import serve_scheduler

    with stop_on_signals("closing the connections of all workers") as stop:
        serve_scheduler(_fleet(listen, ca, cert, key), _say, stop)


@click.command(cls=Work)
@click.option(
    "--scheduler",
    required=True,
    metavar="tls://HOST[:PORT]",
    callback=_address,
    help="Of the cluster to join.",
)
@_certificates
@click.option(
    "--host",
    "hosts",
    multiple=True,
    metavar="NAME",
    help=(
        "A node host, as `hosts` of job files names it, whose disks are read here; may be repeated. Children "
        "with that node host run on its workers alone."
    ),
)
@click.option(
    "--slots", type=click.IntRange(1, 64), metavar="N", default=4, show_default=True, help="Children at once."
)
@click.option(
    "--listen",
    metavar="ADDRESS",
    help="The address to listen at, of this machine alone.  [default: the one that reaches the scheduler]",
)
@click.option(
    "--lease",
    type=click.FloatRange(2, 3600),
    metavar="SECONDS",
    default=LEASE,
    show_default=True,
    help="How long children run on while nothing is heard from the `sendense run` that started them.",
)
def worker(
    scheduler: str,
    ca: Path,
    cert: Path,
    key: Path,
    hosts: tuple[str, ...],
    slots: int,
    listen: str | None,
    lease: float,
) -> None:
    """Run children of sets here, for `run --on dask` elsewhere.

    Each is a process of its own. `local` in a job means this machine, and secrets are resolved here. SIGTERM
    stops all children in order; they are started again elsewhere. Without a scheduler it stops them and ends
    with exit code 1: systemd starts it again (`Restart=always`).
    """
    with its_extra():
        from runner.sets.dask.serving import WorkerOptions, serve_worker

    if LOCAL in hosts:
        raise UsageError(
            f"--host {LOCAL}: a job's `{LOCAL}` is every worker; name a node host as `hosts` of job files"
        )
    with stop_on_signals("stopping all children in order; they resume elsewhere") as stop:
        serve_worker(_fleet(scheduler, ca, cert, key), WorkerOptions(hosts, slots, listen, lease), _say, stop)


def _fleet(scheduler: str, ca: Path, cert: Path, key: Path) -> DaskFleet:
    return DaskFleet(scheduler=scheduler, ca=str(ca), cert=str(cert), key=str(key))


def _say(line: str) -> None:
    print(f"sendense: {line}", file=sys.stderr, flush=True)
