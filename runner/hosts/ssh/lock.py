"""A lock on an SSH host: a session there that runs `flock` and waits to hear from us.

The runner's death closes the session's standard input, and the lock is free. Where the network is cut nobody
closes it: sshd would keep the session for as long as TCP does, which is two hours and more. So the shell
wants to hear from us, a byte every `BEAT` seconds, answers each with a line, and releases the lock when it
heard nothing for `RELEASE_AFTER` seconds. A holder that was not answered for a moment asks before it relies
on the lock: a process that was frozen may have lost it. A lock whose file was removed or replaced is no lock
to the next process, so the shell gives it up.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence

from runner.base.errors import HostError, LockedError
from runner.hosts.lock_file import ATTEMPTS, NOBODY, read_lock
from runner.hosts.regular_file import NOT_A_FILE, NotAFileError, kind_in_words
from runner.hosts.script import load
from runner.hosts.ssh.files import SCRIPT_TIMEOUT
from runner.hosts.ssh.session import Session
from runner.hosts.supervisor import BROKEN, first_line

BEAT = 30.0
RELEASE_AFTER = 300
"""Ten beats: a network that is away for a minute costs a run nothing."""
ANSWER_TIMEOUT = 60.0
FRESH = 1.0
"""An answer to what was asked so many seconds ago still counts."""

_LOCK = load("runner/hosts/ssh/scripts/lock.sh")


def take_lock(
    host: str, start: Callable[[Sequence[str]], Session], path: str, holder: str, token: str, mark: str
) -> SshLock:
    """See `runner.hosts.host.Host.lock`; `start` starts a command line on a wire."""
    asked = _clock()
    arguments = (path, holder, token or NOBODY, str(RELEASE_AFTER), str(ATTEMPTS))
    wire = start(_LOCK.argv(*arguments, name=mark or "lock"))
    try:
        answer, text = first_line(host, ("flock", path), wire)
        if not answer.startswith("taken"):
            text += _rest(host, path, wire)
            if answer == "refused":
                present = read_lock(text)
                raise LockedError(f"{path} on {host}", present.holder or "it left no name", present.token)
            words = f"{answer} {text.decode(errors='replace')}".strip()
            code = wire.wait(SCRIPT_TIMEOUT)
            if code == NOT_A_FILE:
                raise NotAFileError(host, path, kind_in_words(answer))
            raise HostError(f"{path} on {host} cannot be locked: {words}", transient=code == BROKEN)
    except BaseException:
        wire.close()
        raise
    before = answer.removeprefix("taken").strip()
    return SshLock(host, path, wire, "" if before == NOBODY else before, asked)


def _rest(host: str, path: str, wire: Session) -> bytes:
    text = b""
    try:
        while content := wire.receive(SCRIPT_TIMEOUT):
            text += content
    except TimeoutError:
        raise HostError(
            f"{path} on {host}: no answer within {SCRIPT_TIMEOUT:.0f} s", transient=True
        ) from None
    return text


def _clock() -> float:
    """Seconds that count on while the machine is asleep."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class SshLock:
    """See `runner.hosts.host.Lock`."""

    def __init__(self, host: str, path: str, wire: Session, before: str, asked: float) -> None:
        self.before = before
        self._host = host
        self._path = path
        self._wire = wire
        self._asked = asked
        """When we last asked what was answered since."""
        self._asking = threading.Lock()
        self._over = threading.Event()
        threading.Thread(target=self._beat, name=f"lock on {host}", daemon=True).start()

    def alive(self) -> bool:
        return self._is_held(FRESH)

    def release(self) -> None:
        """Twice is fine."""
        self._over.set()
        self._wire.hang_up()
        code = self._wire.wait(SCRIPT_TIMEOUT)
        self._wire.close()
        if code is None:
            raise HostError(
                f"the lock {self._path} on {self._host} is not released: its session does not end"
            )

    def _beat(self) -> None:
        while not self._over.wait(BEAT) and self._is_held(BEAT / 2):
            pass

    def _is_held(self, fresh: float) -> bool:
        with self._asking:
            if self._over.is_set() or self._wire.wait(0) is not None:
                return False
            if _clock() - self._asked < fresh:
                return True
            asked = _clock()
            try:
                self._wire.send(b".")
                answered = self._wire.receive(ANSWER_TIMEOUT) == b"\n"
            except (BrokenPipeError, TimeoutError):
                answered = False
            if answered:
                self._asked = asked
            else:
                # Unknown is not held; the shell there hears that too, and releases it.
                self._wire.close()
            return answered
