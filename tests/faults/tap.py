"""A tap in the process that is to be killed: it says when a moment has come, and holds the run there.

A moment is a word and a name, such as ``intent snapshot``; ``did write manifest.json@3`` is the third time. The words:

    intent, acted, done    of a KEEP or JOB node: its intent is recorded; its work is done and not recorded; it is recorded
    opened, closed         of a PROCESS node
    dropped                a node's record is gone: it was rolled back
    phase                  the run's own record says ``working``, ``unwinding`` or ``finished``
    asking, asked          before and after a call of the vCenter: ``create`` or ``remove`` a snapshot
    writing                a local file of that name is written, but has not got it yet
    doing, did             before and after a verb of the hub: ``write manifest.json``, ``run mv``, ``popen qemu-img commit``;
                           files and directories without the way to them, a run's id as ``RUN``
    copied                 ``2000:40``: 40 % of the disk 2000 is recorded as safe. The run is not held: the copy goes on
    flushed                the same, and the run is held there
    compressed             ``48:40``: 40 % of a disk of 48 MiB went into its stream; as `copied`
    sent                   ``ParaVirtualSCSIController0:0:40``: 40 % of the stream of the disk there; as `copied`
    written                the same, of a disk of a VM in vSphere
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

from runner.base.units import MiB
from runner.engine.checkpoint import RunState
from runner.events.events import Bus, NodeFinished, NodeUndone
from runner.hosts import supervisor
from runner.hosts.ssh.host import SshHost
from steps.copies import disk as copy_of_disk
from steps.copy.engine import Tuning
from steps.incremental.disk_ledger import DiskLedger
from steps.stream.writer import StreamWriter
from steps.vsphere import snapshots
from steps.vsphere.nfc import Upload

_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")

_WINDOW = 2 * MiB
"""Of a copy into another repository, which no job can set: so that small disks take many FLUSHes."""


class Tap:
    """Of one run in a process of its own, which it changes for good. `made` gets a line for each temporary directory."""

    def __init__(self, moment: str, gate: socket.socket, made: int) -> None:
        self._moment, _, times = moment.partition("@")
        self._left = int(times or 1)
        """How often it is still to come."""
        self._gate = gate
        self._made = made
        self._lock = threading.Lock()
        self._safe: Counter[int] = Counter()
        self._size: dict[int, int] = {}

    def install(self) -> None:
        _around(RunState, "put", before=self._to_record, after=self._recorded)
        _around(RunState, "drop", after=lambda _, node: self._now(f"dropped {node}"))
        _around(RunState, "save", after=lambda _, record: self._now(f"phase {record.phase}"))
        _around(Bus, "emit", after=self._told)
        _around(DiskLedger, "record", after=self._safe_now)
        _around(StreamWriter, "put", after=self._compressed)
        _around(Upload, "send", after=self._sent)
        for call in ("create", "remove"):
            _around(
                snapshots,
                call,
                before=lambda *_, call=call, **__: self._now(f"asking {call}"),
                after=lambda *_, call=call, **__: self._now(f"asked {call}"),
            )
        for verb in ("mkdir", "write", "write_sparse", "rename", "remove", "run", "popen"):
            _around(
                SshHost,
                verb,
                before=lambda _, target="", *__, verb=verb, **___: self._now(f"doing {verb} {_called(verb, target)}"),
                after=lambda _, target="", *__, verb=verb, **___: self._now(f"did {verb} {_called(verb, target)}"),
            )
        copy_of_disk.copy = partial(copy_of_disk.copy, tuning=Tuning(window=_WINDOW))
        watch_directories(self._made)
        _around(Path, "replace", before=lambda path, target: self._now(f"writing {Path(target).name}"))

    def _to_record(self, _: RunState, record: Any) -> None:
        if record.state == "done":
            self._now(f"acted {record.node}")

    def _recorded(self, _: RunState, record: Any) -> None:
        self._now(f"{record.state} {record.node}")

    def _told(self, _: Bus, event: Any) -> None:
        if isinstance(event, NodeFinished):
            self._now(f"opened {event.node}")
        elif isinstance(event, NodeUndone):
            self._now(f"closed {event.node}")

    def _compressed(self, stream: StreamWriter, offset: int, content: Any) -> None:
        done = offset + len(content)
        self._share_of("compressed", str(stream.capacity // MiB), 100 * done // stream.capacity)

    def _sent(self, upload: Upload, piece: bytes) -> None:
        self._share_of("sent", upload.device.place, 100 * (upload.size - upload.left) // upload.size)

    def _share_of(self, word: str, name: str, share: int, *, hold: bool = False) -> None:
        of, _, wanted = self._moment.rpartition(":")
        if of == f"{word} {name}" and share >= int(wanted):
            self._now(self._moment, hold=hold)

    def _safe_now(self, ledger: Any, ranges: Any) -> None:
        head = ledger._head
        if self._moment.startswith("written ") and ":[" not in head.image:  # ``prod:vm-16:[ds1] db/db.vmdk``
            return
        self._safe[head.disk_key] += sum(one.length for one in ranges)
        share = 100 * self._safe[head.disk_key] // head.capacity
        self._share_of("copied", str(head.disk_key), share)
        self._share_of("flushed", str(head.disk_key), share, hold=True)
        self._share_of("written", str(head.disk_key), share)

    def _now(self, moment: str, *, hold: bool = True) -> None:
        with self._lock:
            if moment != self._moment:
                return
            self._left -= 1
            if self._left != 0:
                return
            self._gate.send(b"!")
        if hold:
            self._gate.recv(1)


def _called(verb: str, target: str | Sequence[str]) -> str:
    if isinstance(target, str):
        return _RUN.sub("RUN", Path(target).name)
    return " ".join(word for word in target[: 2 if verb == "popen" else 1] if not word.startswith("-"))


def watch_directories(file: int) -> None:
    """From now on the descriptor gets a line for each temporary directory, on whichever host."""
    first_line = supervisor.first_line

    def told(*args: Any) -> tuple[str, bytes]:
        line, rest = first_line(*args)
        if line.startswith("/tmp/sd-"):
            os.write(file, line.encode() + b"\n")
        return line, rest

    supervisor.first_line = told


def _around(
    owner: Any, name: str, *, before: Callable[..., None] | None = None, after: Callable[..., None] | None = None
) -> None:
    plain = getattr(owner, name)

    def tapped(*args: Any, **named: Any) -> Any:
        if before is not None:
            before(*args, **named)
        result = plain(*args, **named)
        if after is not None:
            after(*args, **named)
        return result

    setattr(owner, name, tapped)
