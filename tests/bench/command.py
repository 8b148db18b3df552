"""One `sendense` command in a process of its own, again and again: seconds, CPU seconds, peak memory, modules."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from runner.base.units import KiB, human_bytes

ROUNDS = 5

# VmHWM, since ru_maxrss of a new process starts with that of the process that started it.
_TELLS = """
import sys
from runner.cli import main
try:
    main(sys.argv[1:])
finally:
    peak = next(line for line in open("/proc/self/status") if line.startswith("VmHWM:"))
    print(len(sys.modules), peak.split()[1], file=sys.stderr)
"""


@dataclass(frozen=True)
class Took:
    """`cpu`: seconds, of the command and of what it started on this machine; `far`: of what served it elsewhere."""

    seconds: float
    cpu: float
    far: float
    memory: int
    modules: int


def take(
    words: Sequence[str],
    far: Callable[[], float] = lambda: 0.0,
    *,
    rounds: int = ROUNDS,
    ok: Sequence[int] = (0,),
) -> list[Took]:
    """`far`: CPU seconds so far of what serves the command; `ok`: exit codes. A first round, which writes Python's byte
    code, is left out."""
    return [_once(words, far, ok) for _ in range(rounds + 1)][1:]


def show(what: str, took: Sequence[Took], aim: float) -> None:
    """`aim`: seconds."""
    seconds = [one.seconds for one in took]
    middle = statistics.median(seconds)
    far = statistics.median(one.far for one in took)
    print(
        f"{what}: {min(seconds):.2f} / {middle:.2f} / {max(seconds):.2f} s (aim {aim:g} s: "
        f"{'met' if middle <= aim else 'NOT met'}), CPU {statistics.median(one.cpu for one in took):.2f} s"
        f"{f' and {far:.2f} s at the repository host' if far else ''}, "
        f"{human_bytes(max(one.memory for one in took))}, {took[-1].modules} modules",
        flush=True,
    )


def _once(words: Sequence[str], far: Callable[[], float], ok: Sequence[int]) -> Took:
    argv = [sys.executable, "-c", _TELLS, *words]
    # As it is installed: without byte code a start would be half compiling.
    before = far()
    began = time.perf_counter()
    with subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True) as command:
        assert command.stderr is not None
        said = command.stderr.read()
        _, status, used = os.wait4(command.pid, 0)
        command.returncode = os.waitstatus_to_exitcode(status)
    if command.returncode not in ok:
        raise RuntimeError(f"{' '.join(words)} failed: {said}")
    modules, peak = map(int, said.splitlines()[-1].split())
    return Took(
        seconds=time.perf_counter() - began,
        cpu=used.ru_utime + used.ru_stime,
        far=far() - before,
        memory=peak * KiB,
        modules=modules,
    )
