"""What signals mean to a command that runs long."""

import signal
import subprocess
import sys
from collections.abc import Sequence

import pytest

STOPPING = """
import signal, sys
from runner.cli import signals

signals.ONE_REQUEST = float(sys.argv[1])
with signals.stop_on_signals() as stop:
    for number in sys.argv[2:]:
        signal.raise_signal(int(number))
    assert stop.is_set()
    print("closed what it had open")
"""


def stopped(one_request: float, signals: Sequence[signal.Signals], how: str = "") -> tuple[int, str]:
    argv = [sys.executable, "-c", STOPPING, str(one_request), *(str(int(number)) for number in signals)]
    # Where the tests themselves run under nohup, HUP would be ignored.
    shell = ["env", "--default-signal=HUP", "sh", "-c", f'{how} exec "$@"', "sh", *argv]
    done = subprocess.run(shell, stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    return done.returncode, done.stdout


@pytest.mark.parametrize(
    "signals",
    [
        pytest.param((signal.SIGINT,), id="one"),
        pytest.param((signal.SIGINT, signal.SIGINT), id="to-the-child-and-to-its-group"),
        pytest.param((signal.SIGINT, signal.SIGTERM), id="two-that-differ"),
    ],
)
def test_signals_that_come_together_are_one_request_to_stop(signals: tuple[signal.Signals, ...]) -> None:
    assert stopped(60, signals) == (0, "closed what it had open\n")


def test_one_that_comes_later_leaves_at_once() -> None:
    assert stopped(0, (signal.SIGINT, signal.SIGINT)) == (130, "")


def test_a_terminal_that_hangs_up_stops_a_run_in_order_however_often_it_says_so() -> None:
    assert stopped(0, (signal.SIGHUP, signal.SIGHUP)) == (0, "closed what it had open\n")


def test_a_run_stops_in_order_where_nobody_can_read_that_it_does() -> None:
    assert stopped(60, (signal.SIGTERM,), "exec 2>/dev/full;") == (0, "closed what it had open\n")


def test_nohup_means_that_a_run_outlives_its_terminal() -> None:
    code = STOPPING.replace("assert stop.is_set()", "assert not stop.is_set()")
    argv = ["sh", "-c", 'trap "" HUP; exec "$@"', "sh", sys.executable, "-c", code, "60", str(int(signal.SIGHUP))]
    assert subprocess.run(argv, stdout=subprocess.DEVNULL, timeout=60, check=False).returncode == 0
