"""The process that is the lab: ``python -m steps.lab.daemon DIRECTORY INVENTORY [--leashed]``.

It writes one line to standard output, once it is ready or cannot be: ``{"ready": true}`` or ``{"error": "<a
sentence>", "exit_code": 2}``. What else it says goes to standard error, which its starter keeps in a
file. It ends on SIGTERM, at the request ``stop``, and, with --leashed, when its standard input ends: when the
process that started it is gone.
"""

from __future__ import annotations

import argparse
import base64
import binascii
import errno
import json
import os
import secrets
import select
import signal
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from pydantic import JsonValue

from runner.base.errors import LockedError, SendenseError, UsageError
from runner.hosts import files, process
from runner.hosts.connect import connect
from steps.lab import record, site
from steps.lab.control import Control, Operation
from steps.lab.record import LabRecord, VCenterAt
from steps.lab.simulator import Simulator, load_inventory
from steps.lab.simulator.entities import escape
from steps.lab.sshd import Sshd
from steps.repository import marker

USERNAME = "backup@vsphere.local"


class Bell:
    """Wakes the main thread, from a signal handler too: a pipe, since an Event must not be set in a
    handler."""

    def __init__(self) -> None:
        self.reader, self._writer = os.pipe()

    def ring(self) -> None:
        os.write(self._writer, b"!")

    def on_signal(self, number: int, frame: FrameType | None) -> None:
        self.ring()


class Running:
    """A lab while it runs, and what can be asked of it."""

    def __init__(
        self, directory: Path, inventory: Path, control: Path, simulator: Simulator, sshd: Sshd
    ) -> None:
        self.simulator = simulator
        self._directory = directory
        self.record = LabRecord(
            pid=os.getpid(),
            control=str(control),
            inventory=str(inventory),
            vcenter=VCenterAt(
                server="127.0.0.1",
                port=simulator.port,
                username=USERNAME,
                password_file=str(directory / record.PASSWORD),
                ca=str(simulator.ca_path),
                thumbprint=simulator.thumbprint,
            ),
            store=sshd.spec,
            repository=str(directory / record.STORE / "repository"),
            site=str(directory / site.SITE),
            vms=site.describe_vms(load_inventory(inventory), simulator, directory),
        )

    def write(self, vm: str, disk: int, offset: int, content: str) -> None:
        """A guest write; `content` is base64."""
        try:
            plain = base64.b64decode(content, validate=True)
        except binascii.Error as error:
            raise UsageError(f"the content of a write is not base64: {error}") from error
        self.simulator.write(vm, disk, offset, plain)

    def change(self, vm: str, *, name: str, tag: str, untag: str, gone: bool) -> None:
        """What an administrator does to a VM between two nights; an empty text is left as it is."""
        machine = self.record.vm(vm)
        if tag:
            self.simulator.tag(machine.path, tag)
        if untag:
            self.simulator.tag(machine.path, untag, attach=False)
        now = machine
        if name:
            self.simulator.rename(machine.path, name)
            folder = machine.path.rpartition("/")[0]
            now = machine.model_copy(update={"name": name, "path": f"{folder}/{escape(name)}"})
        if gone:
            self.simulator.unregister(now.path)
        after = [now if one is machine else one for one in self.record.vms if not (gone and one is machine)]
        self.record = self.record.model_copy(update={"vms": tuple(after)})
        record.write(self._directory, self.record)

    def fault(self, name: str, count: int, parameters: Mapping[str, str]) -> None:
        self.simulator.fault(name, count, **parameters)

    def status(self) -> JsonValue:
        return {
            "armed": dict(self.simulator.armed),
            "snapshots": {vm: list(names) for vm, names in self.simulator.snapshots_of_all().items()},
            "calls": dict(self.simulator.calls),
            "served": dict(self.simulator.served),
        }


@contextmanager
def running(directory: Path, inventory: Path, bell: Bell) -> Iterator[Running]:
    """Ready inside of the block; outside of it nothing runs, and the directory stays."""
    with ExitStack() as stack:
        stack.callback(_lock(directory).release)
        before = record.read(directory)
        simulator = stack.enter_context(_simulator(directory, inventory, before))
        sshd = Sshd(directory / record.STORE / "sshd")
        stack.callback(sshd.stop)
        sshd.stop()  # that of a killed lab may hold the port for a moment yet
        sshd.start()
        control = Path(stack.enter_context(process.temporary_directory())) / "control"
        lab = Running(directory, inventory, control, simulator, sshd)
        _make_repository(lab.record)
        operations: dict[str, Operation] = {
            "write": lab.write,
            "fault": lab.fault,
            "change": lab.change,
            "status": lab.status,
            "stop": bell.ring,
        }
        stack.enter_context(Control(control, operations))
        record.write(directory, lab.record)  # before the rest, which is replaced only where there is a record
        site.write(directory, lab.record)
        yield lab


def _lock(directory: Path) -> files.FileLock:
    try:
        return files.FileLock(str(directory / record.LOCK), str(os.getpid()))
    except LockedError as error:
        raise UsageError(
            f"a lab runs in {directory} already, as process {error.holder}; "
            f"`sendense lab stop --dir {directory}` ends it"
        ) from error


def _simulator(directory: Path, inventory: Path, before: LabRecord | None) -> Simulator:
    """At the port of the last time if that is free, so that an unfinished run finds its vCenter again."""
    loaded = load_inventory(inventory)
    password = directory / record.PASSWORD
    if not password.exists():
        files.write(str(password), secrets.token_urlsafe(12).encode() + b"\n")

    def made(port: int) -> Simulator:
        text = password.read_text().rstrip("\n")
        return Simulator(loaded, directory / record.VCENTER, username=USERNAME, password=text, port=port)

    if before is not None:
        try:
            return made(before.vcenter.port)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise
    return made(0)


def _make_repository(lab: LabRecord) -> None:
    """Through the repository host's sshd, which proves that it serves."""
    store = connect("store", lab.store)
    try:
        marker.init(store, lab.repository)
    finally:
        store.close()


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="steps.lab.daemon")
    parser.add_argument("directory", type=Path)
    parser.add_argument("inventory", type=Path)
    parser.add_argument("--leashed", action="store_true")
    options = parser.parse_args(argv)
    os.umask(0o077)
    process.dump_no_core()
    bell = Bell()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, bell.on_signal)
    try:
        with running(options.directory, options.inventory, bell):
            _announce({"ready": True})
            select.select([bell.reader, *([0] if options.leashed else [])], [], [])
    except SendenseError as error:
        _announce({"error": error.message, "exit_code": error.exit_code})
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


def _announce(line: Mapping[str, JsonValue]) -> None:
    """The process that started us waits for the end of this pipe, so nothing may keep it open."""
    os.write(1, json.dumps(line).encode() + b"\n")
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 1)
    os.close(null)


if __name__ == "__main__":
    sys.exit(main())
