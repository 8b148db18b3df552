"""A lab as its user sees it: start it, write to its disks, break it, end it."""

from __future__ import annotations

import base64
import errno
import json
import os
import random
import select
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runner.base.errors import SendenseError, UsageError
from runner.base.units import MiB
from runner.hosts import files
from steps.lab import record
from steps.lab.control import Asking, NotAnswering
from steps.lab.record import LabRecord
from steps.lab.simulator import DEFAULT_INVENTORY

START_TIMEOUT = 60.0
"""Most of a start is importing pyVmomi and writing the disks: 2 s, several times that on a busy machine."""
STOP_TIMEOUT = 30.0
KILL_TIMEOUT = 5.0
CHUNK = MiB
"""Bytes of a guest write that travel at once."""

_INHERITED = ("PATH", "HOME", "LANG", "LC_ALL", "TMPDIR")
_DAEMON = "steps.lab.daemon"


class NotStarted(SendenseError):
    """`said`: the last lines of its log."""

    def __init__(self, directory: Path, said: str) -> None:
        super().__init__(f"the lab in {directory} did not start: {said}")


class NotEnded(SendenseError):
    def __init__(self, pid: int) -> None:
        super().__init__(f"the lab's process {pid} does not end, not even on SIGKILL: it hangs in the kernel")


class Lab:
    """A lab that was started in `directory`, perhaps by another process."""

    def __init__(self, directory: Path) -> None:
        """Raises UsageError if there never was one."""
        self.directory = directory.absolute()
        found = record.read(self.directory)
        if found is None:
            raise UsageError(
                f"there is no lab in {directory}; `sendense lab start --dir {directory}` makes one"
            )
        self.record: LabRecord = found
        self._process: subprocess.Popen[bytes] | None = None

    @classmethod
    def start(cls, directory: Path, inventory: Path | None = None, *, leashed: bool = False) -> Lab:
        """Returns once the lab serves. Without `inventory` it is the one of the last time, or the default
        one.

        It outlives this process unless `leashed`. Raises UsageError (one runs there already, the inventory
        has mistakes, the directory is somebody else's), NotStarted with its words."""
        directory = directory.absolute()
        if not str(directory).isprintable() or set(str(directory)) & set('"\\'):
            raise UsageError(
                f"the lab cannot have {directory}: sshd takes no quotes, backslashes and line breaks there"
            )
        try:
            files.make_directory(str(directory), parents=True)
        except OSError as error:
            raise UsageError(f"the lab cannot have {directory}: {error.strerror}") from error
        before = record.read(directory)
        if inventory is None:
            inventory = Path(before.inventory) if before else DEFAULT_INVENTORY
        if before is None and set(directory.iterdir()) - {
            inventory.absolute(),
            *map(directory.joinpath, record.BEGUN),
        }:
            # A lab writes site.yaml and jobs: those of somebody's own must not be replaced.
            raise UsageError(f"{directory} is not empty and not a lab: give --dir a new directory")
        process = _launch(directory, inventory.absolute(), leashed=leashed)
        lab = cls(directory)
        lab._process = process
        return lab

    def write(self, vm: str, disk: int, offset: int, pieces: Iterator[bytes], length: int = 0) -> int:
        """A guest write of `pieces`, one behind the other, of which `length` bytes are known to come; returns
        how many came. Raises UsageError, before the first byte for an unknown VM or disk or a `length` past
        the disk's end, else there."""
        machine = self.record.vm(vm)
        size = machine.disk(disk).size
        past_the_end = UsageError(
            f"disk {disk} of {machine.name} ends at byte {size}; the write would go past it"
        )
        if offset + length > size:
            raise past_the_end
        end = offset
        with Asking(self.record.control) as lab:
            for piece in pieces:
                if end + len(piece) > size:
                    raise past_the_end
                content = base64.b64encode(piece).decode()
                lab.ask("write", vm=machine.path, disk=disk, offset=end, content=content)
                end += len(piece)
        return end - offset

    def change(self, vm: str, *, name: str = "", tag: str = "", untag: str = "", gone: bool = False) -> None:
        """What an administrator does to a VM between two nights: it gets another name or a tag
        (``category/tag``), loses one, or is taken out of the inventory. Its job file stays. Raises
        UsageError."""
        with Asking(self.record.control) as lab:
            lab.ask("change", vm=vm, name=name, tag=tag, untag=untag, gone=gone)
        changed = record.read(self.directory)
        assert changed is not None, "a lab that answers has a record"
        self.record = changed

    def fault(self, name: str, count: int = 1, parameters: Mapping[str, str] | None = None) -> None:
        """The next `count` calls that it hits take it. Raises UsageError for an unknown fault or
        parameter."""
        with Asking(self.record.control) as lab:
            lab.ask("fault", name=name, count=count, parameters=dict(parameters or {}))

    def status(self) -> dict[str, Any]:
        """``armed``: faults not yet taken, by name; ``snapshots``: names by the VM's inventory path;
        ``calls``: how often each SOAP method and HTTP request came; ``served``: bytes sent over HTTPS, by the
        disk's file."""
        with Asking(self.record.control) as lab:
            answer: dict[str, Any] = lab.ask("status")
        return answer

    def stop(self) -> bool:
        """Ends it, and returns once its process is gone; the directory stays. False if it was not running.
        Raises NotEnded."""
        process = _open_process(self.record.pid, self.directory)
        if process is None:
            return False
        try:
            _end(process, self.record)
        finally:
            os.close(process)
            if self._process is not None:
                self._process.wait(KILL_TIMEOUT)
                if self._process.stdin is not None:
                    self._process.stdin.close()
        return True


def seeded(seed: int, length: int) -> Iterator[bytes]:
    """`length` random bytes that are the same for the same seed."""
    source = random.Random(seed)
    for start in range(0, length, CHUNK):
        yield source.randbytes(min(CHUNK, length - start))


def content_of(path: Path, length: int | None = None) -> Iterator[bytes]:
    """The bytes of a file, `length` at most. Raises UsageError."""
    try:
        with path.open("rb") as file:
            while (length is None or length > 0) and (
                piece := file.read(CHUNK if length is None else min(CHUNK, length))
            ):
                length = None if length is None else length - len(piece)
                yield piece
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error


def length_of(path: Path, length: int | None = None) -> int:
    """How much `content_of` gives, as far as the file tells: nothing of a pipe. Raises UsageError."""
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UsageError(f"{path} cannot be read: {error.strerror}") from error
    return size if length is None else min(length, size)


def _launch(directory: Path, inventory: Path, *, leashed: bool) -> subprocess.Popen[bytes]:
    # Like every child, it gets a small environment: secrets of ours are none of its business.
    environment = {name: os.environ[name] for name in _INHERITED if name in os.environ}
    # -P: what happens to lie in the working directory is not imported.
    argv = [
        sys.executable,
        "-P",
        "-m",
        _DAEMON,
        str(directory),
        str(inventory),
        *(["--leashed"] if leashed else []),
    ]
    with (directory / record.LOG).open("wb") as log:
        process = subprocess.Popen(
            argv,
            stdin=subprocess.PIPE if leashed else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=log,
            env=environment,
            cwd="/",
            start_new_session=True,
        )
    try:
        _await_ready(process, directory)
    except BaseException:
        process.kill()
        process.wait(KILL_TIMEOUT)
        if process.stdin is not None:
            process.stdin.close()
        raise
    return process


def _await_ready(process: subprocess.Popen[bytes], directory: Path) -> None:
    assert process.stdout is not None
    with process.stdout as said:
        if not select.select([said], [], [], START_TIMEOUT)[0]:
            raise NotStarted(directory, f"it was not ready after {START_TIMEOUT:.0f} s")
        line = said.readline()
    if not line:
        words = (directory / record.LOG).read_text(errors="replace").strip().splitlines()[-3:]
        raise NotStarted(directory, " / ".join(words) or "it printed nothing")
    answer = json.loads(line)
    if "error" in answer:
        process.wait(KILL_TIMEOUT)
        kind = UsageError if answer["exit_code"] == UsageError.exit_code else SendenseError
        raise kind(answer["error"])


def _open_process(pid: int, directory: Path) -> int | None:
    """A pidfd of the lab's process; None if it is gone, also where its number has been given to another
    one."""
    try:
        process = os.pidfd_open(pid)
        command = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError as error:
        if error.errno in (errno.ESRCH, errno.ENOENT):
            return None
        raise
    if os.fsencode(_DAEMON) in command and os.fsencode(directory) in command:
        return process
    os.close(process)
    return None


def _end(process: int, lab: LabRecord) -> None:
    try:
        with Asking(lab.control) as asking:
            asking.ask("stop")
    except NotAnswering:
        _signal(process, signal.SIGTERM)
    if _gone(process, STOP_TIMEOUT):
        return
    _signal(process, signal.SIGKILL)
    if not _gone(process, KILL_TIMEOUT):
        raise NotEnded(lab.pid)


def _signal(process: int, number: signal.Signals) -> None:
    try:
        signal.pidfd_send_signal(process, number)
    except ProcessLookupError:
        return  # it ended by itself


def _gone(process: int, timeout: float) -> bool:
    """Whether it ended in time: a pidfd is readable then (pidfd_open(2))."""
    return bool(select.select([process], [], [], timeout)[0])
