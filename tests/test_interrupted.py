"""A stop is no error of what it interrupts: nothing takes it for a problem, a note or a default."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
CATCHES_INTERRUPTED = {"SendenseError", "Exception", "BaseException"}

NO_RUN = "the lab is a process of its own, which no run's stop reaches"
WAITS_FOR_NOTHING = "an expression is evaluated, which waits for nothing"
CLEANUP = "its time is over: what could not be looked at or rolled back is told, and left to the next run or a sweep"
TOLD = "the end of the run is told as that, whatever is in its list of failures"
RECORDS = "records are written by the host that no stop ends"
CLOSING = "everything else is to be closed all the same"
AFTERWARDS = "the run is over: what is missing of its notice changes nothing of what came of it"

MAY_CATCH_IT: dict[str, str] = {
    "runner/engine/early_look.py ask": "a run that stops hears of it itself, and its early look ends with its first nodes",
    "runner/engine/executor.py _turn": "bugs only: an Interrupted never leaves a turn",
    "runner/engine/gate.py require": TOLD,
    "runner/engine/held_snapshots.py _release": TOLD,
    "runner/engine/held_snapshots.py release_gone": TOLD,
    "runner/engine/processes.py _close_stack": CLOSING,
    "runner/engine/recorded.py _held": CLEANUP,
    "runner/engine/recording.py failed": RECORDS,
    "runner/engine/schedule.py _expand": WAITS_FOR_NOTHING,
    "runner/engine/teardown.py _is_out": CLEANUP,
    "runner/engine/teardown.py _is_ours": CLEANUP,
    "runner/engine/teardown.py _undo": CLEANUP,
    "runner/engine/teardown.py _why_released": CLEANUP,
    "runner/engine/teardown.py name_what_is_held": CLEANUP,
    "runner/engine/teardown.py record_work_done": RECORDS,
    "runner/engine/turn.py take": TOLD,
    "runner/engine/watch.py _look": "a thread that ends with the run, and looks again",
    "runner/engine/world.py _close": CLOSING,
    "steps/boot/accelerator.py here": NO_RUN,
    "steps/efi/ovmf.py here": NO_RUN,
    "steps/commands/scope.py _values": WAITS_FOR_NOTHING,
    "steps/coverage/jobs.py _each": WAITS_FOR_NOTHING,
    "steps/coverage/jobs.py _known": WAITS_FOR_NOTHING,
    "steps/lab/control.py _answer": NO_RUN,
    "steps/lab/daemon.py main": NO_RUN,
    "steps/lab/simulator/dispatch.py answer": NO_RUN,
    "steps/lab/simulator/nfc/leases.py _prepare": NO_RUN,
    "steps/lab/simulator/tasks.py _run": NO_RUN,
    "steps/notices/after_run.py _protections": AFTERWARDS,
    "steps/notices/apprise_process.py _send": NO_RUN,
    "steps/notices/record.py _readable": AFTERWARDS,
    "steps/notices/record.py write": AFTERWARDS,
    "steps/repository/vm_lock.py _release": CLOSING,
    "steps/vsphere/client.py _keep_alive": "a thread that waits for no run's stop",
    "steps/vsphere/client.py _adopt": "the borrower of the cookie is told, and decides",
}
"""``file function`` → why a stop may be taken for an error there."""


def _swallows(file: Path) -> Iterator[str]:
    """Each handler that catches Interrupted with all other errors, and raises nothing."""
    for function, attempt in _attempts(ast.parse(file.read_text()), ""):
        for handler in attempt.handlers:
            caught = _names(handler.type)
            if "Interrupted" in caught:
                break
            if caught & CATCHES_INTERRUPTED and not any(isinstance(part, ast.Raise) for part in ast.walk(handler)):
                yield f"{file.relative_to(ROOT)} {function}"


def _attempts(part: ast.AST, function: str) -> Iterator[tuple[str, ast.Try]]:
    for child in ast.iter_child_nodes(part):
        if isinstance(child, ast.Try):
            yield function, child
        within = child.name if isinstance(child, ast.FunctionDef) else function
        yield from _attempts(child, within)


def _names(caught: ast.expr | None) -> set[str]:
    if caught is None:
        return {"BaseException"}
    return {part.id for part in ast.walk(caught) if isinstance(part, ast.Name)}


@pytest.mark.parametrize("place", ["steps", "runner/engine"])
def test_who_takes_a_stop_for_an_error_has_a_reason(place: str):
    found = {each for file in sorted((ROOT / place).rglob("*.py")) for each in _swallows(file)}
    listed = {each for each in MAY_CATCH_IT if each.startswith(f"{place}/")}
    assert found - listed == set(), "put `except Interrupted: raise` before it"
    assert listed - found == set(), "these raise it by now: take them from the list"
