"""What the end of a repository's log says of the VMs of one set."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal, cast, get_args

from runner.base.errors import CommandError, StateError
from runner.base.units import MINUTE, MiB
from runner.hosts.host import Host
from runner.hosts.regular_file import refuse_no_file
from runner.hosts.script import load
from steps.repository import layout

END = 64 * MiB
"""Bytes of the log that are looked at: two nights of ten thousand VMs are half of it."""

_UNREADABLE = 74
"""Exit code of the script where the log cannot be read."""

_READ = load("steps/trail/scripts/publications.sh")

Said = Literal["usual", "unusual", "released"]


@dataclass(frozen=True)
class Publication:
    """Of a restore point; or that the brake of its VM was released."""

    vm: str
    """The name of the VM's directory."""
    said: Said
    """How much the VM had changed."""


def of_set(host: Host, root: str, name: str, since: datetime) -> tuple[Publication, ...]:
    """In the repository at `root`, oldest first; of releases those of other VMs too. Raises CommandError,
    HostError, StateError, Interrupted."""
    path = posixpath.join(root, layout.LOG)
    line = f'"job":{json.dumps(f"{name}/")[:-1]}'
    argv = _READ.argv(path, str(END), f"{since.astimezone(UTC):%Y-%m-%dT%H:%M:%S}", line)
    try:
        done = host.run(argv, timeout=2 * MINUTE)
    except CommandError as error:
        if error.exit_code_seen == _UNREADABLE:
            text = f"{path} on {host.name} cannot be read: `sendense log` says what is wrong with it"
            raise StateError(text) from error
        refuse_no_file(error, path)
        raise
    return tuple(_read(done.stdout.decode(errors="replace"), f"{path} on {host.name}"))


def _read(text: str, where: str) -> Iterator[Publication]:
    for line in filter(None, text.split("\n")):
        vm, _, said = line.rpartition(" ")
        if said not in get_args(Said):
            raise StateError(f"{where}: what it says of a set's VMs could not be read")
        yield Publication(vm, cast(Said, said))
