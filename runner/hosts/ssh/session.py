"""One command running on the server."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import paramiko

from runner.base import workers
from runner.base.errors import CommandError, HostError, Interrupted, SendenseError
from runner.base.units import KiB
from runner.base.waiting import NEVER
from runner.hosts.ssh.command_line import Word
from runner.hosts.ssh.link import SESSION_TIMEOUT, Answer, Place
from runner.hosts.ssh.preamble import Account, NoisyLoginError, NoShellError, Preamble
from runner.hosts.supervisor import BROKEN, END_TIMEOUT, receive

SHELL_TIMEOUT = 30.0
"""Seconds for a login shell, its start-up files, and the shell that it starts for us."""

_END_TIMEOUT = 3.0
"""An sftp server, which some accounts have for a shell, says nothing and ends with its input."""

_UNASKED = 256 * KiB
"""Bytes that are sent before the command was heard to have started: no round trip is lost for what is small,
and what is large is not stuck behind what the login prints, which is read first."""

_GONE = (OSError, EOFError, paramiko.SSHException)
"""What paramiko raises where the connection broke just now: also of reading, which tells sshd that there is
room again."""


@dataclass(frozen=True)
class Ended:
    exit_code: int
    stdout: bytes
    stderr: str


class Session:
    """Its output is read by one thread; all else may be called from any. With `merged`, where standard error
    comes with the output, it is a `runner.hosts.supervisor.Wire`. What the account prints of its own before
    the command starts is skipped."""

    def __init__(
        self,
        account: Account,
        argv: Sequence[str],
        word: Word,
        channel: paramiko.Channel,
        place: Place,
        *,
        merged: bool,
    ) -> None:
        self._account = account
        self._host = account.host
        self._argv = tuple(argv)
        self._channel = channel
        self._place = place
        self._merged = merged
        self._preamble = Preamble(word.line, account)
        self._held = b""
        """What came with the word and nobody took yet."""
        self._preamble_of_errors = Preamble(word.line, account)
        self._errors = bytearray()
        self._failure: HostError | None = None
        """Why we ended it."""
        self._told = False
        self._answers_by = time.monotonic() + SESSION_TIMEOUT
        self._starts_by = time.monotonic() + SHELL_TIMEOUT
        self._lost = False
        """The connection broke, though its channels may not know yet."""
        self._errors_over = threading.Event()
        if merged:
            self._errors_over.set()
        else:
            workers.start(self._follow_errors, f"errors of {argv[0]}")

    def send(self, content: bytes) -> None:
        """Raises BrokenPipeError if the reader is gone, TimeoutError after 30 s."""
        self._send([content], time.monotonic() + SESSION_TIMEOUT)

    def receive(self, timeout: float | None) -> bytes:
        """Raises TimeoutError, NoShellError, NoisyLoginError, and if the connection broke HostError
        (transient); a wire says so in its output."""
        if not self._preamble.over:
            self._skip_preamble(timeout)
        content, self._held = self._held or self._receive(timeout), b""
        if content or not self._broken() or self._told:
            return content
        self._told = True
        if self._merged and self._failure is None:
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
        self._place.release()

    def finish(
        self,
        stdin: Iterable[bytes] | None,
        deadline: float,
        *,
        silence: float = math.inf,
        hang_up: bool = False,
        stop: threading.Event = NEVER,
        leashed: bool = False,
    ) -> Ended:
        """Sends `stdin`, and its end if `hang_up`, reads to the end and closes. The command must not end
        before it read what is sent: paramiko may send after it confirmed the session's end, and sshd then
        drops the whole connection ("packet referred to nonexistent channel"). For the same reason a command
        over its time is not told so: the closing of its session ends the leash. Raises CommandError if
        `deadline` (of time.monotonic) passes first or no standard output comes for `silence` seconds,
        HostError (transient) if the connection breaks, Interrupted once `stop` is set; a command that is
        `leashed` was given the time to end then."""
        output = bytearray()
        try:
            with contextlib.suppress(BrokenPipeError):
                # It ended without reading all: its exit code tells.
                self._send(stdin or (), deadline)
            if hang_up:
                self.hang_up()
            while content := receive(self, min(silence, _left(deadline)), stop):
                output += content
            if (code := self.wait(_left(deadline))) is None:
                raise TimeoutError
            if self._broken():
                raise self._break()
        except TimeoutError:
            self._place.doubt()
            if not self._preamble.over:
                raise self._unstarted() from None
            raise CommandError(self._host, self._argv, None, self._said_on_errors()) from None
        except Interrupted:
            if leashed:
                self.hang_up()
                self.wait(END_TIMEOUT)
            raise
        finally:
            self.close()
            self._errors_over.wait(SESSION_TIMEOUT)
        return Ended(code, bytes(output), self._said_on_errors())

    def _said_on_errors(self) -> str:
        return self._errors.decode(errors="replace")

    def _skip_preamble(self, timeout: float | None) -> None:
        """Up to the command's start, or the end of a broken connection. Raises TimeoutError, and what keeps
        the command from starting once that has taken too long."""
        deadline = self._starts_by if timeout is None else min(self._starts_by, time.monotonic() + timeout)
        while not self._preamble.over:
            try:
                content = self._receive(min(1.0, _left(deadline)))
            except TimeoutError:
                self._skip_errors()
                self._check_answer()
                if _left(self._starts_by) == 0:
                    raise self._unstarted() from None
                if _left(deadline) == 0:
                    raise
                continue
            if not content:
                code = self.wait(_END_TIMEOUT)
                if self._broken():
                    return
                raise self._no_shell(code)
            self._held = self._preamble.strip(content)
            self._skip_errors()

    def _check_answer(self) -> None:
        """Raises HostError (transient) once sshd had time enough to say whether it starts the command."""
        answer = self._channel.event
        if isinstance(answer, Answer) and not answer.came and _left(self._answers_by) == 0:
            self._place.give_up()
            why = f"no answer in {SESSION_TIMEOUT:.0f} s"
            raise HostError(f"{self._host} did not start a command: {why}", transient=True)

    def _skip_errors(self) -> None:
        """Of a session whose standard error is its output from the command's start on."""
        while self._merged and self._channel.recv_stderr_ready():
            self._preamble_of_errors.strip(self._channel.recv_stderr(64 * KiB))
        if self._merged and self._preamble.over:
            self._account.printed(self._preamble_of_errors.content)

    def _unstarted(self) -> SendenseError:
        self.hang_up()
        code = self.wait(_END_TIMEOUT)
        if code not in (None, BROKEN):
            return self._no_shell(code)
        if printed := self._printed():
            return NoShellError(self._host, self._account.name, None, printed)
        if _left(self._starts_by) > 0:
            return CommandError(self._host, self._argv, None, "")
        return HostError(f"{self._host} started no command within {SHELL_TIMEOUT:.0f} s", transient=True)

    def _no_shell(self, code: int | None) -> NoShellError:
        self._errors_over.wait(_END_TIMEOUT)
        self._skip_errors()
        return NoShellError(self._host, self._account.name, code, self._printed())

    def _printed(self) -> bytes:
        return self._preamble.content + self._preamble_of_errors.content

    def _send(self, pieces: Iterable[bytes], deadline: float) -> None:
        unasked = 0
        for piece in pieces:
            sent = 0
            while sent < len(piece):
                if unasked > _UNASKED and not self._preamble.over:
                    self._skip_preamble(_left(deadline))
                self._channel.settimeout(_left(deadline))
                try:
                    done = self._channel.send(piece[sent : sent + 256 * KiB])
                except TimeoutError:
                    raise
                except _GONE as error:
                    raise BrokenPipeError from error
                sent += done
                unasked += done

    def _receive(self, timeout: float | None) -> bytes:
        while True:
            self._channel.settimeout(timeout)
            try:
                content = self._channel.recv(256 * KiB)
            except TimeoutError:
                if timeout is not None:
                    raise
                # A channel has but one timeout: this is the one of a `send` in another thread.
            except _GONE:
                self._lost = True
                return b""
            else:
                if content:
                    self._place.heard()
                return content

    def _follow_errors(self) -> None:
        try:
            self._read_errors()
        finally:
            self._errors_over.set()

    def _read_errors(self) -> None:
        while True:
            try:
                content = self._channel.recv_stderr(64 * KiB)
            except TimeoutError:
                # That of the thread that reads the output. paramiko raises it also where content came
                # meanwhile, and of a channel that was closed it gives what it has, and then the end.
                continue
            except _GONE:
                return
            if not content:
                return
            try:
                self._errors += self._preamble_of_errors.strip(content)
            except NoisyLoginError as error:
                self._failure = error
                with contextlib.suppress(*_GONE):
                    self._channel.close()
                return

    def _broken(self) -> bool:
        return (self._channel.closed or self._lost) and self._channel.exit_status < 0

    def _break(self) -> HostError:
        return self._failure or HostError(
            f"the ssh session to {self._host} broke while {self._argv[0]} ran", transient=True
        )


def _left(deadline: float) -> float:
    return max(0.0, deadline - time.monotonic())
