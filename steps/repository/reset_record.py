"""That a run reset a VM's changed block tracking, remembered beside its restore points: it is done once, not
every night.

It reads all disks whole and stuns the VM, so one that did not help must not come again; the note goes when
tracking works.
"""

from __future__ import annotations

import posixpath
from datetime import datetime

from runner.base.errors import StateError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.hosts.host import Host
from steps.repository import layout

SCHEMA_VERSION = 1


class TrackingReset(Model):
    schema_version: int = SCHEMA_VERSION
    run: str
    """Whose run did it."""
    at: datetime
    disks: tuple[str, ...]
    """The backing uuids of the disks that had no changeId."""
    done: bool = False
    """Tracking was switched on again: whether it helped, the next snapshot tells. Else the run ended in the
    middle of it."""


def read(host: Host, directory: str) -> TrackingReset | None:
    """None if there was none, in a VM's `directory`. Raises StateError, HostError."""
    path = posixpath.join(directory, layout.TRACKING_RESET)
    try:
        return unseal(host.read(path, limit=layout.RECORD_LIMIT), TrackingReset, SCHEMA_VERSION)
    except FileNotFoundError:
        return None
    except Damaged as damaged:
        raise StateError(f"{path} on {host.name} {damaged}") from damaged


def write(host: Host, directory: str, reset: TrackingReset) -> None:
    host.write(posixpath.join(directory, layout.TRACKING_RESET), seal(reset.to_json_value()))


def forget(host: Host, directory: str) -> None:
    """Absent is fine."""
    host.remove(posixpath.join(directory, layout.TRACKING_RESET))
