"""How every process we start is held: by a shell wrapper that reads our pipe and kills the program once it
closes.

The wrapper is the same text on this machine and behind sshd, so that a SIGKILL of this process ends its
children everywhere: the kernel closes the pipe, or sshd closes the session's standard input. (A program
started through `ssh host program` alone survives its client's death: sshd sends no signal to a session
without a terminal.)

What travels through the wrapper's standard input: first `size` bytes that become the program's standard input
(the program starts only when they are there whole, so it never acts on half of them), then one signal name a
line. The end of it means TERM, and KILL five seconds later; after TERM comes CONT, since a frozen program
takes TERM only once it continues. The exit code is the program's, 128 + n if signal n ended it.

With a token, the wrapper says when the program was started and how it ended, and then waits for the end of
its standard input. So an ssh session never ends while we may be sending a signal: paramiko can send that
after it confirmed the session's end, and sshd then drops the whole connection ("packet referred to
nonexistent channel"). These words and the program's go through one pipe, so that its last ones come before
them: sshd reads two pipes in an order of its own.

So nothing has to be written down of what runs anywhere: a process, a forward, a lock and a temporary
directory end with the pipe or the session that keeps them. Two things can keep that from happening. A frozen
runner, or a network that was cut, closes nothing: such a shell is found by its mark (`mark_of`), which it has
from its first moment, and TERM ends it with what it holds. And a power cut ends the shell that would have
removed a directory: the directory says whose it is, in its ``.owner``. `runner.hosts.stray_processes` looks
for both.

The program's environment is a fixed small one: what it needs must be on its command line or in a file, so
that no secret of ours is inherited; and it leaves no core dump, which would hold those that it was given, and
no file that others can read. It leads a process group and session of its own; what is left of the group when
it ended is killed.
"""

from __future__ import annotations

import contextlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from runner.base.errors import CommandError, HostError, Interrupted
from runner.base.units import KiB, human_bytes
from runner.base.waiting import LOOK, NEVER, until
from runner.hosts.script import load

STDERR_TAIL = 64 * KiB
START_TIMEOUT = 30.0
END_TIMEOUT = 6.0
"""Seconds in which a program ends whose leash was released: it has five between TERM and KILL."""

_TERMS = 5
"""Times that TERM is sent before KILL: a qemu-nbd that is about to serve forgets one that came before it does
(qemu-nbd.c, `state`)."""

NOT_FOUND = 127
"""What a POSIX shell returns for a program that does not exist; ld.so(8) does so too, for one whose libraries
do not."""

_NOT_INSTALLED = "is not installed on"

BROKEN = 255
"""The exit code of a wire that broke, as ssh(1) gives it; the shell at its far end sees its standard input
end."""

_NO_ROOM = 28
"""ENOSPC, as the exit code of ``keep-directory.sh``."""

_MARK = "sendense:"

_SUPERVISE = load("runner/hosts/scripts/supervise.sh")
_KEEP_DIRECTORY = load("runner/hosts/scripts/keep-directory.sh")

_DEBIAN_PACKAGES = {
    "flock": "util-linux",
    "ssh": "openssh-client",
    "ssh-keygen": "openssh-client",
    "/usr/sbin/sshd": "openssh-server",
}
"""Of OpenSSH's programs and of locks; a step has its own in `runner.step.tools.Program.package`."""


class NoRoomError(HostError):
    """For a temporary directory with content."""


class Wire(Protocol):
    """A running shell with two pipes: ours to it, and its output (standard error merged in) to us."""

    def send(self, content: bytes) -> None:
        """Raises BrokenPipeError if it no longer reads."""

    def receive(self, timeout: float | None) -> bytes:
        """What it wrote next, empty at the end. Raises TimeoutError."""

    def wait(self, timeout: float) -> int | None:
        """Its exit code, None if it still runs after `timeout` seconds."""

    def hang_up(self) -> None:
        """Ends its standard input, for which it waits; twice is fine."""

    def close(self) -> None:
        """Closes both pipes; twice is fine."""


def mark_of(run: str, execution: str) -> str:
    """What stands as the name of every shell that holds something of that execution of a run, on any host: no
    record of it is needed, and none can be missing. TERM ends such a shell and what it holds."""
    return f"{_MARK}{run}:{execution}"


def marked(argument: str) -> tuple[str, str] | None:
    """Run and execution of a mark, None if it is none."""
    run, colon, execution = argument.removeprefix(_MARK).partition(":")
    return (run, execution) if argument.startswith(_MARK) and colon else None


def leash(
    host: str, argv: Sequence[str], *, size: int = 0, token: str = "", mark: str = ""
) -> tuple[str, ...]:
    """The command line that runs `argv` on a leash, with `size` bytes of standard input."""
    program = argv[0]
    package = _DEBIAN_PACKAGES.get(program)
    remedy = f"; on Debian: apt install {package}" if package else ""
    missing = f"{program} {_NOT_INSTALLED} {host}{remedy}"
    return _SUPERVISE.argv(str(size), token, missing, *argv, name=mark or "leash")


def is_missing(exit_code: int, stderr: str) -> bool:
    """Whether a command that ended so was not there."""
    return exit_code == NOT_FOUND and _NOT_INSTALLED in stderr


class LeashedChild:
    """A `runner.hosts.host.Child`."""

    def __init__(
        self,
        argv: Sequence[str],
        host: str,
        start: Callable[[Sequence[str]], Wire],
        mark: str = "",
        cut_off: Callable[[str], None] = lambda token: None,
        stop: threading.Event = NEVER,
    ) -> None:
        """`start` starts a command line on a wire. Returns once the program was started. Raises CommandError
        if it could not be, Interrupted if `stop` comes first. `cut_off` is told the leash's token if the wire
        broke or went silent: the program may keep running at its far end."""
        if stop.is_set():
            raise Interrupted
        self.argv = tuple(argv)
        self.host = host
        token = f"leash-{secrets.token_hex(8)}"
        self._token = token
        self._cut_off = cut_off
        self._code: int | None = None
        self._wire = start(leash(host, argv, token=token, mark=mark))
        try:
            line, rest = first_line(host, argv, self._wire, stop)
            if line != token:
                raise CommandError(host, argv, self._wire.wait(START_TIMEOUT), line)
        except BaseException:
            self._tell_if_cut_off()
            self._wire.close()
            raise
        self._last_line = f"{token} ".encode()
        """How it begins; the exit code follows. The program does not know the token, so this is said once."""
        self._tail = bytearray()
        self._lock = threading.Lock()
        self._over = threading.Event()
        """Nothing more is to be heard: it ended, or the wire did."""
        name = f"output of {argv[0]}"
        self._reader = threading.Thread(target=self._read, args=(rest,), name=name, daemon=True)
        self._reader.start()

    def poll(self) -> int | None:
        return self._wire.wait(0) if self._code is None else self._code

    def stderr(self) -> str:
        if self.poll() is not None:
            # The last words of a wire that ended are still on their way; an escaped process may keep it open.
            self._over.wait(1.0)
        with self._lock:
            return self._tail.decode(errors="replace")

    def stop(self, timeout: float = 10.0) -> None:
        for signals, pause in (*[(b"TERM\nCONT\n", timeout / 2 / _TERMS)] * _TERMS, (b"KILL\n", timeout / 2)):
            if self.poll() is None:
                with contextlib.suppress(BrokenPipeError, TimeoutError):
                    # The wire broke or is silent, or the wrapper was killed: all of it shows in `poll`.
                    self._wire.send(signals)
                self._over.wait(pause)
        self._wire.hang_up()
        self._tell_if_cut_off()
        if self.poll() is None:
            raise CommandError(self.host, self.argv, None, self.stderr())
        self._reader.join(timeout=1.0)
        self._wire.close()

    def _tell_if_cut_off(self) -> None:
        if self.poll() in (None, BROKEN):
            self._cut_off(self._token)

    def _read(self, content: bytes) -> None:
        while True:
            with self._lock:
                self._tail += content
                words, last_line, code = self._tail.partition(self._last_line)
                ended = bool(last_line) and code.endswith(b"\n")
                if ended:
                    self._code = int(code)
                    self._tail = words
                del self._tail[:-STDERR_TAIL]
            if ended:
                self._over.set()
                self._wire.hang_up()
            if not (content := self._wire.receive(None)):
                break
        self._over.set()
        self._wire.wait(START_TIMEOUT)
        self._wire.close()


@contextlib.contextmanager
def kept_directory(
    host: str,
    start: Callable[[Sequence[str]], Wire],
    mark: str = "",
    cut_off: Callable[[str], None] = lambda directory: None,
    stop: threading.Event = NEVER,
    room: int = 0,
    *,
    on_disk: bool = False,
) -> Iterator[str]:
    """A new 0700 directory, removed at the end, also at the end of this process by SIGKILL: the shell that
    made it removes it when its standard input closes. `start` starts a command line on a wire; `cut_off` is
    told the directory if the wire broke: its keeper may be dead. `room` and `on_disk` as for `Host.tempdir`.
    Raises CommandError, NoRoomError, Interrupted if `stop` comes before it was made."""
    if stop.is_set():
        raise Interrupted
    argv = _KEEP_DIRECTORY.argv(str(room), "disk" if on_disk else "", name=mark or "directory")
    wire = start(argv)
    try:
        try:
            directory, _ = first_line(host, argv, wire, stop)
        except CommandError as error:
            if error.exit_code_seen == _NO_ROOM:
                raise NoRoomError(_no_room(host, room, error.stderr, on_disk=on_disk)) from None
            raise
        # Absolute, where mktemp's complaint begins with its name and has the template in it.
        if not (directory.startswith("/") and "/sd-" in directory):
            raise CommandError(host, ("mktemp", "/tmp/sd-…"), wire.wait(START_TIMEOUT), directory)
    except BaseException:
        wire.close()
        raise
    try:
        yield directory
    finally:
        wire.hang_up()
        code = wire.wait(START_TIMEOUT)
        wire.close()
        if code == BROKEN:
            cut_off(directory)
    if code not in (0, BROKEN):
        raise CommandError(
            host, ("rm", "-r", "/tmp/sd-…"), code, "a temporary directory could not be removed"
        )


def _no_room(host: str, room: int, said: str, *, on_disk: bool) -> str:
    """`said`: by ``keep-directory.sh``, of each place that it looked at."""
    whats = {"memory": "is in memory", "closed": "is no directory that we may write to"}
    places = []
    for place in dict.fromkeys(filter(None, said.split(";"))):
        free, _, path = place.partition(" ")
        places.append(f"{path} {whats.get(free) or f'has {human_bytes(int(free))}'}")
    lack = f"{host} has no {human_bytes(room)} free{' on disk' if on_disk else ''}"
    return f"{lack} for temporary files: {', '.join(places)}; TMPDIR there can name a place with more"


def first_line(
    host: str, argv: Sequence[str], wire: Wire, stop: threading.Event = NEVER
) -> tuple[str, bytes]:
    """The first line it writes, without its end, and what came with it. Raises CommandError with its words if
    it ends instead, Interrupted."""
    deadline = time.monotonic() + START_TIMEOUT
    words = b""
    while b"\n" not in words:
        try:
            content = receive(wire, deadline - time.monotonic(), stop)
        except TimeoutError:
            raise CommandError(host, argv, None, words.decode(errors="replace")) from None
        if not content:
            raise CommandError(host, argv, wire.wait(START_TIMEOUT), words.decode(errors="replace"))
        words += content
    line, _, rest = words.partition(b"\n")
    return line.decode(errors="replace"), rest


def receive(wire: Wire, timeout: float, stop: threading.Event) -> bytes:
    """What it writes next, empty at the end. Raises TimeoutError, and Interrupted though it may write on and
    on."""
    if stop.is_set():
        raise Interrupted

    def heard() -> tuple[bytes] | None:
        try:
            return (wire.receive(max(0.0, min(LOOK, timeout))),)
        except TimeoutError:
            return None

    # Most of it is there already: a file comes in pieces of 32 KiB, and to begin a wait takes 75 µs.
    return (heard() or until(heard, stop=stop, timeout=timeout, pause=0))[0]
