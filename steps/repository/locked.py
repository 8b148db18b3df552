"""Which restore points nobody but root of the host can change or delete: what its timer tells, and what their
files say themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Literal

from runner.base.errors import CommandError
from runner.base.sealed import Damaged, unseal
from runner.base.units import MINUTE
from runner.hosts.host import Host
from steps.repository.manifest import PointName
from steps.repository.recorded import Recorded, UtcTime

SCHEMA_VERSION: Literal[1] = 1


class Locked(Recorded):
    """locked.json in a VM's directory; root's timer writes it."""

    schema_version: Literal[1] = SCHEMA_VERSION
    points: dict[PointName, UtcTime]
    """Until when they are locked, as its clock says today: a point stands here until it is unlocked."""


def parse(content: bytes, where: str) -> dict[str, datetime]:
    """`where` names the file in the sentence. Raises StateError for damage, NewerError."""
    try:
        return dict(unseal(content, Locked, SCHEMA_VERSION).points)
    except Damaged as error:
        raise error.error(where) from error


def is_immutable(host: Host, path: str) -> bool:
    """Whether the file or directory itself is, whatever anybody tells of it. Not where that cannot be seen: a
    file system without such a flag (chattr(1)) has no locks."""
    try:
        said = host.run(("lsattr", "-d", "--", path), timeout=MINUTE).stdout.decode(errors="replace")
    except CommandError:
        return False
    return "i" in said.partition(" ")[0]
