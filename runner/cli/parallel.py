"""Several jobs at once: a `sendense run` process for each, so that each has a core of its own and a crash is
one job's alone."""

from __future__ import annotations

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

from runner.base.errors import Interrupted, SendenseError
from runner.cli.job_results import Ended
from runner.cli.signals import ASKS_TO_STOP, ONE_REQUEST
from runner.hosts.limits import limit_of
from runner.hosts.process import exit_code_of

ONE_OF_SEVERAL = "--one-of-several"
"""The hidden option of a process that runs one job for another `sendense run`."""

LOOK = 0.2
"""Seconds until a request to stop is passed on: signals within a second are one request
(`signals.ONE_REQUEST`), and a terminal's Ctrl-C reaches our processes by itself too."""

_PR_SET_PDEATHSIG = 1
"""prctl(2), linux/prctl.h"""


class DiedError(SendenseError):
    """A job's process said nothing of its end."""

    def __init__(self, exit_code: int) -> None:
        how = (
            f"was killed by signal {exit_code - 128}"
            if exit_code > 128
            else f"ended with exit code {exit_code}"
        )
        super().__init__(f"the process that ran it {how} and said nothing of it: run it again to resume")


def end_with(parent: int) -> None:
    """From now on this process is asked to stop when `parent`, which started it, dies, however that
    happens."""
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)
    if os.getppid() != parent:  # it had died before
        signal.raise_signal(signal.SIGTERM)


def run_at_once(
    jobs: Sequence[Path], parallel: int, command: Sequence[str], stop: threading.Event
) -> list[Ended]:
    """How `jobs` ended, in their order; at most `parallel` run at once. `command` are the words of `sendense`
    that run the job which follows them. What they say on standard error is passed on, a line at a time, with
    the job's name before it. After `stop` no job begins, and those that run are asked to stop."""
    processes = _Processes(names_of(jobs), command, stop)
    with ThreadPoolExecutor(parallel, thread_name_prefix="job") as pool:
        running = [pool.submit(processes.run, job) for job in jobs]
        left = set(running)
        while left:
            left = wait(left, LOOK).not_done
            if stop.is_set():
                processes.stop()
    return [one.result() for one in running]


class _Processes:
    def __init__(self, names: Mapping[Path, str], command: Sequence[str], stop: threading.Event) -> None:
        self._names = names
        self._width = max(map(len, names.values()))
        self._command = command
        self._stop = stop
        self._running: set[subprocess.Popen[str]] = set()
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def run(self, job: Path) -> Ended:
        """To its end. A job that had not started when the request to stop came was not reached."""
        # Not a pipe: nobody reads it before the end, and a process whose pipe is full waits.
        with tempfile.TemporaryFile() as answer:
            with self._lock:
                if self._stop.is_set():
                    return Ended(job)
                try:
                    process = self._start(job, answer)
                except OSError as error:
                    return Ended(job).but(
                        limit_of(error)
                        or SendenseError(f"its process could not be started: {error.strerror}")
                    )
                self._running.add(process)
            with process:
                assert process.stderr is not None
                for line in process.stderr:
                    self._pass_on(job, line.rstrip("\n"))
            with self._lock:
                self._running.discard(process)
            answer.seek(0)
            told = answer.read()
            if not told and self._stopped_as_it_started(process.returncode):
                return Ended(job)
            return ended_of(job, exit_code_of(process.returncode), told)

    def _stopped_as_it_started(self, returncode: int) -> bool:
        """Whether a request to stop ended it before it had a handler for one, so before it began its job. The
        signal may have reached both of us at once, and our own handler runs later."""
        return -returncode in ASKS_TO_STOP and self._stop.wait(ONE_REQUEST)

    def stop(self) -> None:
        """Asks each once."""
        with self._lock:
            for process in self._running:
                with suppress(ProcessLookupError):
                    process.terminate()
            self._running.clear()

    def _start(self, job: Path, answer: IO[bytes]) -> subprocess.Popen[str]:
        # With -P, which a script has too, a directory `runner` where we are called is not taken for ours.
        return subprocess.Popen(
            (sys.executable, "-P", "-m", "runner.cli", *self._command, str(job)),
            stdin=subprocess.DEVNULL,
            stdout=answer,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )

    def _pass_on(self, job: Path, line: str) -> None:
        with self._writing:
            sys.stderr.write(f"{self._names[job]:<{self._width}}  {line}\n")
            sys.stderr.flush()


def names_of(jobs: Sequence[Path]) -> dict[Path, str]:
    """Those of the files, or their paths where several have one name."""
    stems = Counter(job.stem for job in jobs)
    return {job: job.stem if stems[job.stem] == 1 else str(job) for job in jobs}


def ended_of(job: Path, exit_code: int, answer: bytes) -> Ended:
    try:
        document: Any = json.loads(answer)
        (told,) = document["runs"]
        return Ended.told(job, told)
    except (ValueError, KeyError, TypeError):
        return Ended(job).but(Interrupted() if exit_code == 130 else DiedError(exit_code))
