"""``python -m runner.cli.child`` runs one job for a controller: see `runner.sets.child_process`. It is no
command of people's, and needs neither a terminal nor what only commands do."""

from __future__ import annotations

import json
import os
import threading
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from pydantic import ValidationError

from runner.app.options import Options, Placed
from runner.app.runs import Result, RunBroke, run_job
from runner.base.errors import SendenseError, UsageError
from runner.base.units import KiB
from runner.cli import end_with
from runner.cli.job_results import Ended
from runner.cli.signals import StopRequest, stop_on_signals
from runner.events.events import Event
from runner.events.fold import Fold
from runner.events.journal import Thinning
from runner.hosts.limits import limit_of
from runner.sets.child_process import ENDED
from runner.sets.placement import ORDER_SCHEMA_VERSION, Order
from runner.step.registry import Registry


def run_child() -> int:
    """Runs what standard input orders; returns the exit code."""
    order, out = _order(_first_line()), _own_output()
    with stop_on_signals(None) as stop:
        threading.Thread(target=_end_with_lease, args=(stop,), daemon=True).start()
        ended = _Child(order, Registry.installed(), _Teller(out)).run(stop)
        end = {"exit_code": ended.exit_code, "document": ended.document()}
        _write(out, json.dumps({ENDED: end}).encode())
    assert ended.exit_code is not None
    return ended.exit_code


def _first_line() -> bytes:
    # Not by `sys.stdin`: a thread that waits in it holds its lock, which Python needs to end.
    content = b""
    while b"\n" not in content and (more := os.read(0, 64 * KiB)):
        content += more
    return content


def _own_output() -> BinaryIO:
    """Standard output for us alone: what anything else prints there, a library say, goes to standard
    error."""
    own = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    return own


def _order(line: bytes) -> Order:
    """Raises UsageError."""
    try:
        version = json.loads(line)["schema_version"]
        if version == ORDER_SCHEMA_VERSION:
            return Order.model_validate_json(line)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise UsageError("a job's process takes its order on standard input, from `sendense run`") from error
    raise UsageError(
        f"this sendense takes orders of version {ORDER_SCHEMA_VERSION}, and got one of {version}: install "
        "the same version here as where `sendense run` was started"
    )


def _end_with_lease(stop: StopRequest) -> None:
    while os.read(0, 64 * KiB):
        pass
    stop.set()


def _write(out: BinaryIO, line: bytes) -> None:
    # Once nobody reads it, the lease is over as well.
    with suppress(BrokenPipeError):
        out.write(line + b"\n")
        out.flush()


class _Teller:
    """A listener: a line for each event that is worth a line in a file of events too."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._thin = Thinning()

    def __call__(self, event: Event) -> None:
        for kept in self._thin(event):
            _write(self._out, kept.model_dump_json().encode())


class _Child:
    def __init__(self, order: Order, registry: Registry, tell: Callable[[Event], None]) -> None:
        self._order = order
        self._registry = registry
        self._tell = tell
        self._fold = Fold(registry.report)

    def run(self, stop: StopRequest) -> Ended:
        file = Path(self._order.file)
        try:
            result, bug = self._result(stop)
        except SendenseError as error:
            return Ended(file, self._order.name).but(error)
        except Exception as error:  # noqa: BLE001  whatever it is, its controller has no part in it
            if (limit := limit_of(error)) is not None:
                return Ended(file, self._order.name).but(limit)
            traceback.print_exception(error)
            text = "".join(traceback.format_exception_only(error)).strip()
            return Ended(file, self._order.name).but(SendenseError(f"bug: {text}"))
        if bug is not None:
            traceback.print_exception(bug)
        return Ended.of(file, result, self._fold.summary(), self._registry.makes())

    def _result(self, stop: StopRequest) -> tuple[Result, RunBroke | None]:
        job, options = self._order.read(self._registry), _options(self._order)
        try:
            return run_job(job, options, stop, [self._fold.add, self._tell]), None
        except RunBroke as broke:
            return broke.result, broke


def _options(order: Order) -> Options:
    return Options(
        overrides=order.settings,
        state=None if order.state is None else Path(order.state),
        nodes=order.nodes,
        fresh=order.fresh,
        break_lock=order.break_lock,
        placed=Placed(order.only, order.git_commit, order.id),
    )


if __name__ == "__main__":
    end_with(run_child)
