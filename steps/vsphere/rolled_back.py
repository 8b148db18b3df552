"""Which disks of a VM were put back by a rollback, and by which run, in its advanced settings.

Whether changed block tracking sees what is written past the guest was found nowhere, so a changeId from
before a rollback says nothing of a disk that it wrote. The VM says so itself: every backup of it meets that,
into whichever repository, and its snapshots keep it as it was at their moment.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError

from runner.base.model import Model
from steps.vsphere import marks
from steps.vsphere.client import Client

KEY = "sendense.rolled-back"
PATH = marks.path_of(KEY)

UNREADABLE = "unreadable"


class _Value(Model):
    disks: dict[str, str] = {}


@dataclass(frozen=True)
class RolledBack:
    disks: Mapping[str, str]
    """The run, by backing uuid: another disk may have a key by now."""
    readable: bool = True
    """Whether the setting is as a rollback writes it."""

    def run(self, backing_uuid: str) -> str:
        """Which put the disk back last; empty for none. Where somebody changed the setting, what a disk went
        through is unknown, and so is what an older changeId of it says."""
        return self.disks.get(backing_uuid, "") if self.readable else UNREADABLE

    def by(self, run: str, disks: Iterable[str]) -> str:
        """The setting's value once `run` put these back too."""
        return _Value(disks={**self.disks, **dict.fromkeys(disks, run)}).model_dump_json()


def parse(value: str) -> RolledBack:
    try:
        return RolledBack(_Value.model_validate_json(value).disks if value else {})
    except ValidationError:
        return RolledBack({}, readable=False)


def read(client: Client, vm: str) -> RolledBack:
    """Of the VM as it is now. Raises Gone, PermissionMissing."""
    return parse(marks.of(client, vm, KEY) or "")


def among(options: Iterable[Any]) -> RolledBack:
    """Among the settings of a configuration."""
    return parse(next((str(one.value) for one in options if one.key == KEY), ""))
