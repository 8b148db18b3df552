"""Many jobs at once, as a person sees them."""

from __future__ import annotations

import io
import threading

import pytest
from rich.console import Console as RichConsole

from runner.base.units import GiB
from runner.console.several import SeveralConsole
from runner.console.several_live import SeveralLive
from runner.events.progress import Totals, Waiting

NAMES = {f"k{number}": f"server-of-a-department-{number:04}" for number in range(1000)}


def drawn(running: int, width: int, height: int) -> list[str]:
    totals = Totals("VM", 0.0, {key: Waiting(40 * GiB) for key in NAMES})
    for key in list(NAMES)[:running]:
        totals.start(key, 0.0)
        told = {"type": "node-progress", "node": "transfer[2000]", "label": "disk", "phase": "copy"}
        totals.running[key].add({**told, "done": GiB, "total": 40 * GiB}, 5.0)
    totals.waits_for = "1 of 8 disks read in vCenter prod at once (8 in use)"
    stream = io.StringIO()
    face = SeveralLive(stream, totals, NAMES, threading.RLock())
    RichConsole(file=stream, width=width, height=height, legacy_windows=False).print(face.frame(20.0, width, height))
    return stream.getvalue().splitlines()


@pytest.mark.parametrize(("running", "width", "height"), [(64, 80, 24), (64, 132, 60), (3, 80, 24), (1, 40, 8)])
def test_the_picture_fits_the_terminal_whatever_runs(running: int, width: int, height: int) -> None:
    lines = drawn(running, width, height)
    assert len(lines) < height
    assert all(len(line.rstrip()) <= width for line in lines)
    assert any("running" in line for line in lines)


def test_a_line_tells_of_one_and_the_last_ones_of_all() -> None:
    lines = drawn(64, 80, 24)
    assert "1.0 GiB of 40.0 GiB" in lines[0] and "0000" in lines[0]
    more = next(line for line in lines if "more" in line)
    assert more.split()[1] == str(64 - lines.index(more))
    assert "64 running" in lines[-3] and "936 waiting" in lines[-3] and "of 1,000" in lines[-3]
    assert "64.0 GiB copied" in lines[-2] and "the next waits for 1 of 8 disks" in lines[-1]


def test_off_a_terminal_each_begin_and_end_is_a_line_and_the_totals_come_in_between() -> None:
    stream = io.StringIO()
    waiting = {key: Waiting(None) for key in ("a", "b", "c")}
    names = {"a": "one", "b": "two", "c": "three"}
    with SeveralConsole("VM", waiting, names, stream=stream, interval=0) as console:
        console.started("a")
        console.told("a", {"type": "node-started", "node": "snapshot", "lifetime": "job"})
        console.ended("a", "done", "full", 61.0)
        console.ended("b", "failed", "no room")
    lines = [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()]
    assert lines[0] == "one  starts"
    assert lines[1].startswith("1 running, 2 waiting; 0 B copied, 0 B/s, ETA unknown: 3 VMs of unknown size")
    assert "✓ one  done: full, 1 min 01 s" in lines and "✗ two  failed: no room" in lines


def test_what_many_warn_of_is_said_of_the_first_one() -> None:
    stream = io.StringIO()
    with SeveralConsole("VM", {}, NAMES, stream=stream, level="quiet") as console:
        for key, name in NAMES.items():
            console.told(key, {"type": "warned", "node": "snapshot", "text": f"tracking of {name} is switched on"})
    assert stream.getvalue().count("switched on") == 1
    (cause,) = console.warnings.found
    assert len(cause.names) == 1000 and cause.why == "snapshot: tracking of … is switched on"


def test_quiet_says_only_what_goes_wrong() -> None:
    stream = io.StringIO()
    with SeveralConsole("VM", {}, {"a": "one", "b": "two"}, stream=stream, level="quiet", interval=0) as console:
        console.started("a")
        console.ended("a", "done", "")
        console.ended("b", "failed", "no room")
    assert [line.split("  ", 1)[1] for line in stream.getvalue().splitlines()] == ["✗ two  failed: no room"]
