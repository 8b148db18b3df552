"""One command running on the server."""

from __future__ import annotations

import contextlib
import shlex
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import paramiko

from runner.errors import CommandError, HostError
from runner.leash import BROKEN
from runner.units import KiB

SESSION_TIMEOUT = 30.0
"""Seconds for sshd to answer a request that needs no work."""

_GONE = (OSError, EOFError, paramiko.SSHException)
"""What paramiko raises where the connection broke just now: also of reading, which tells sshd that there is room again."""


def quote(argv: Sequence[str]) -> bytes:
    """The command line that a remote POSIX shell splits into exactly `argv`; file names that are not UTF-8 come as
    surrogates (os.fsdecode). Raises ValueError for a NUL, which no argument can hold."""
    if any("\0" in argument for argument in argv):
        raise ValueError("embedded null byte")
    return f"exec {shlex.join(argv)}".encode("utf-8", "surrogateescape")


@dataclass(frozen=True)
class Ended:
    exit_code: int
    stdout: bytes
    stderr: str


class Session:
    """Its output is read by one thread; all else may be called from any. With `merged`, where standard error comes with
    the output, it is a `runner.leash.Wire`."""

    def __init__(
        self, host: str, argv: Sequence[str], channel: paramiko.Channel, release: Callable[[], None], *, merged: bool
    ) -> None:
        self._host = host
        self._argv = tuple(argv)
        self._channel = channel
        self._release = release
        self._merged = merged
        self._told = False
        self._lost = False
        """The connection broke, though its channels may not know yet."""

    def send(self, content: bytes) -> None:
        """Raises BrokenPipeError if nobody reads any more, TimeoutError after 30 s."""
        self._send([content], time.monotonic() + SESSION_TIMEOUT)

    def receive(self, timeout: float | None) -> bytes:
        """Raises TimeoutError, and if the connection broke HostError (transient); a wire says so in its output."""
        content = self._receive(timeout)
        if content or not self._broken() or self._told:
            return content
        self._told = True
        if self._merged:
            return f"the ssh session to {self._host} broke\n".encode()
        raise self._break()

    def wait(self, timeout: float) -> int | None:
        """`BROKEN` if the connection broke, None if it still runs."""
        if not self._channel.status_event.wait(timeout):
            return None
        return self._channel.exit_status if self._channel.exit_status >= 0 else BROKEN

    def hang_up(self) -> None:
        with contextlib.suppress(*_GONE):
            # The connection is gone, and with it the session's standard input.
            self._channel.shutdown_write()

    def close(self) -> None:
        with contextlib.suppress(*_GONE):
            self._channel.close()
        self._release()

    def finish(self, stdin: Iterable[bytes] | None, deadline: float, *, hang_up: bool = False) -> Ended:
        """Sends `stdin`, and its end if `hang_up`, reads to the end and closes. The command must not end before it read
        what is sent: paramiko may send after it confirmed the session's end, and sshd then drops the whole connection
        ("packet referred to nonexistent channel"). For the same reason a command over its time is not told so: the
        closing of its session ends the leash. Raises CommandError if `deadline` (of time.monotonic) passes first,
        HostError (transient) if the connection breaks."""
        errors = bytearray()
        reader = threading.Thread(target=self._read_errors, args=(errors,), daemon=True)
        reader.start()
        output = bytearray()
        try:
            with contextlib.suppress(BrokenPipeError):
                # It ended without reading all: its exit code tells.
                self._send(stdin or (), deadline)
            if hang_up:
                self.hang_up()
            while content := self.receive(_left(deadline)):
                output += content
            if (code := self.wait(_left(deadline))) is None:
                raise TimeoutError
            if self._broken():
                raise self._break()
        except TimeoutError:
            raise CommandError(self._host, self._argv, None, errors.decode(errors="replace")) from None
        finally:
            self.close()
            reader.join(SESSION_TIMEOUT)
        return Ended(code, bytes(output), errors.decode(errors="replace"))

    def _send(self, pieces: Iterable[bytes], deadline: float) -> None:
        for piece in pieces:
            sent = 0
            while sent < len(piece):
                self._channel.settimeout(_left(deadline))
                try:
                    sent += self._channel.send(piece[sent : sent + 256 * KiB])
                except TimeoutError:
                    raise
                except _GONE as error:
                    raise BrokenPipeError from error

    def _receive(self, timeout: float | None) -> bytes:
        while True:
            self._channel.settimeout(timeout)
            try:
                return self._channel.recv(256 * KiB)
            except TimeoutError:
                if timeout is not None:
                    raise
                # A channel has but one timeout: this is the one of a `send` in another thread.
            except _GONE:
                self._lost = True
                return b""

    def _read_errors(self, into: bytearray) -> None:
        while True:
            try:
                content = self._channel.recv_stderr(64 * KiB)
            except TimeoutError:
                # That of the thread that reads the output; it acts on it by closing the channel.
                if self._channel.closed:
                    return
                continue
            except _GONE:
                return
            if not content:
                return
            into += content

    def _broken(self) -> bool:
        return (self._channel.closed or self._lost) and self._channel.exit_status < 0

    def _break(self) -> HostError:
        return HostError(f"the ssh session to {self._host} broke while {self._argv[0]} ran", transient=True)


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
