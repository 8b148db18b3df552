"""Processes of this machine: run to the end with a deadline, or started and held on a leash."""

from __future__ import annotations

import math
import os
import resource
import select
import subprocess
import threading
import time
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, suppress
from dataclasses import dataclass

from runner.base.errors import CommandError, Interrupted
from runner.base.units import KiB
from runner.base.waiting import LOOK, NEVER, until
from runner.hosts.supervisor import END_TIMEOUT, LeashedChild, kept_directory, leash

LOCAL = "local"

WHOLE_ENVIRONMENT = "SENDENSE_WHOLE_ENVIRONMENT"
"""What tells ``scripts/supervise.sh`` to leave the program's environment as it is."""

_INHERITED = ("PATH", "HOME", "TMPDIR")
_KILL_TIMEOUT = 5.0


@dataclass(frozen=True)
class Completed:
    """A command that ended; `exit_code` is 128 + n if signal n ended it."""

    argv: tuple[str, ...]
    exit_code: int
    stdout: bytes
    stderr: str


def dump_no_core() -> None:
    """From now on this process leaves none where it crashes: it has secrets in its memory. What it starts has
    the same limit."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def make_private() -> None:
    """From now on the files and directories that this process makes are its user's alone, whatever umask it
    was given; what is to be read by others gets its mode by name. What it starts inherits that."""
    os.umask(0o077)


def run(
    argv: Sequence[str],
    *,
    stdin: bytes | None = None,
    timeout: float = 60.0,
    silence: float = math.inf,
    ok: Sequence[int] | None = (0,),
    host: str = LOCAL,
    mark: str = "",
    whole_environment: bool = False,
    stop: threading.Event = NEVER,
) -> Completed:
    """Runs to the end, with the environment of `runner.hosts.supervisor`, or all of ours. Raises
    CommandError if the exit code is not in `ok` (None: any), `timeout` seconds are over, or `silence` seconds
    without standard output; its process group is killed then. Raises Interrupted once `stop` is set; its
    process group had a TERM then, and a KILL if it did not heed that."""
    if stop.is_set():
        raise Interrupted
    deadline = time.monotonic() + timeout
    content = stdin or b""
    leashed_argv = leash(host, argv, size=len(content), mark=mark)
    inherited = {**os.environ, WHOLE_ENVIRONMENT: "yes"} if whole_environment else environment()
    process, writer = _spawn(leashed_argv, stderr=subprocess.PIPE, inherited=inherited)
    with process, ExitStack() as leashed:
        leashed.callback(os.close, writer)
        try:
            _feed(writer, content, deadline, stop)
            left = deadline - time.monotonic()
            heard = _Heard(process, silence)
            stdout, stderr = until(heard.output, stop=stop, timeout=left, pause=0)
        except TimeoutError:
            stderr = _kill(process, writer)
            raise CommandError(host, argv, None, stderr.decode(errors="replace")) from None
        except Interrupted:
            leashed.close()
            _await_end(process)
            raise
    done = Completed(tuple(argv), exit_code_of(process.returncode), stdout, stderr.decode(errors="replace"))
    if ok is not None and done.exit_code not in ok:
        raise CommandError(host, argv, done.exit_code, done.stderr)
    return done


def start(
    argv: Sequence[str], *, host: str = LOCAL, mark: str = "", stop: threading.Event = NEVER
) -> LeashedChild:
    """A process that ends when it is stopped or this process dies. Raises CommandError if it cannot be
    started, Interrupted if `stop` comes first."""
    return LeashedChild(argv, host, PipeWire, mark, stop=stop)


def temporary_directory(
    host: str = LOCAL,
    mark: str = "",
    stop: threading.Event = NEVER,
    room: int = 0,
    *,
    on_disk: bool = False,
) -> AbstractContextManager[str]:
    """See `runner.hosts.supervisor.kept_directory`."""
    return kept_directory(host, PipeWire, mark, stop=stop, room=room, on_disk=on_disk)


def environment() -> dict[str, str]:
    """For children: the few variables that programs need to find things. The rest of ours may hold a password
    (the job's `{env: …}`), and what a process inherits stands in its /proc/PID/environ for as long as it
    runs."""
    return {name: os.environ[name] for name in _INHERITED if name in os.environ} | {"LC_ALL": "C.UTF-8"}


class PipeWire:
    """A `runner.hosts.supervisor.Wire` to a shell on this machine."""

    def __init__(self, argv: Sequence[str]) -> None:
        self._process, self._writer = _spawn(argv, stderr=subprocess.STDOUT, inherited=environment())
        assert self._process.stdout is not None
        self._stdout = self._process.stdout
        self._receiving = threading.Lock()
        self._sending = threading.Lock()
        self._poll = select.poll()
        self._poll.register(self._stdout, select.POLLIN)

    def send(self, content: bytes) -> None:
        with self._sending:
            if self._writer < 0:
                raise BrokenPipeError
            os.write(self._writer, content)

    def receive(self, timeout: float | None) -> bytes:
        with self._receiving:
            if self._stdout.closed:
                return b""
            if not self._poll.poll(None if timeout is None else timeout * 1000):
                raise TimeoutError
            content = os.read(self._stdout.fileno(), 64 * KiB)
            if not content:
                self._stdout.close()
            return content

    def wait(self, timeout: float) -> int | None:
        try:
            return exit_code_of(self._process.wait(timeout))
        except subprocess.TimeoutExpired:
            return None

    def hang_up(self) -> None:
        with self._sending:
            if self._writer >= 0:
                os.close(self._writer)
                self._writer = -1

    def close(self) -> None:
        self.hang_up()
        if self._receiving.acquire(blocking=False):
            # Else the receiving thread closes it at the end of the output.
            self._stdout.close()
            self._receiving.release()


def _spawn(
    argv: Sequence[str], *, stderr: int, inherited: Mapping[str, str]
) -> tuple[subprocess.Popen[bytes], int]:
    """The process and the writing end of its standard input. A session of its own: Ctrl-C on our terminal is
    for us, and the children end in the order of our unwinding."""
    reader, writer = os.pipe()
    try:
        process = subprocess.Popen(
            argv,
            stdin=reader,
            stdout=subprocess.PIPE,
            stderr=stderr,
            env=inherited,
            start_new_session=True,
        )
    except BaseException:
        os.close(writer)
        raise
    finally:
        os.close(reader)
    return process, writer


def _feed(writer: int, content: bytes, deadline: float, stop: threading.Event) -> None:
    """Raises TimeoutError, Interrupted. A wrapper that gave up early reads no more: its exit code tells."""
    os.set_blocking(writer, False)
    poll = select.poll()
    poll.register(writer, select.POLLOUT)
    rest = memoryview(content)
    with suppress(BrokenPipeError):
        while rest:
            left = deadline - time.monotonic()
            until(lambda: poll.poll(LOOK * 1000), stop=stop, timeout=left, pause=0)
            rest = rest[os.write(writer, rest) :]


class _Heard:
    def __init__(self, process: subprocess.Popen[bytes], silence: float) -> None:
        self._process = process
        self._silence = silence
        self._last = time.monotonic()
        self._size = 0
        """Bytes of standard output so far."""

    def output(self) -> tuple[bytes, bytes] | None:
        """Both outputs once it has ended; asking again loses nothing of them. Raises TimeoutError."""
        try:
            return self._process.communicate(timeout=LOOK)
        except subprocess.TimeoutExpired as late:
            size = len(late.output or b"")
        if size > self._size:
            self._size, self._last = size, time.monotonic()
        if time.monotonic() - self._last > self._silence:
            raise TimeoutError
        return None


def _await_end(process: subprocess.Popen[bytes]) -> None:
    """Of one whose leash was released."""
    try:
        process.communicate(timeout=END_TIMEOUT)
    except subprocess.TimeoutExpired:
        process.kill()  # as below


def _kill(process: subprocess.Popen[bytes], writer: int) -> bytes:
    """Kills the program; returns what it wrote to standard error."""
    with suppress(BrokenPipeError, BlockingIOError):
        # It ended in this moment, or its standard input is still stuck on the way: then it was not started.
        os.write(writer, b"KILL\n")
    try:
        return process.communicate(timeout=_KILL_TIMEOUT)[1]
    except subprocess.TimeoutExpired:
        # Cannot be killed (it waits for a dead NFS server): we continue without it.
        process.kill()
        return b""


def exit_code_of(returncode: int) -> int:
    """128 + n for a `Popen.returncode` that says signal n."""
    return 128 - returncode if returncode < 0 else returncode
