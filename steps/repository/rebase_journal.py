"""moving.json: beside a point while an image that was rebuilt takes its place, until the manifest says so
too. Repositories of before may have it in the point."""

from __future__ import annotations

import posixpath
from contextlib import suppress
from typing import Literal

from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.hosts.host import Host
from steps.repository import layout
from steps.repository.manifest import PointDisk

SCHEMA_VERSION: Literal[1] = 1


class Moving(Model):
    schema_version: Literal[1] = SCHEMA_VERSION
    disk: PointDisk
    """As the manifest has it once the image is in its place, which the image's own backing name tells"""


def read(host: Host, point: str) -> Moving | None:
    """Of the point in the directory `point`; None if nothing is moving there. Raises StateError."""
    for path in (_path(point), posixpath.join(point, layout.MOVING)):
        try:
            with suppress(FileNotFoundError):
                return unseal(host.read(path, limit=layout.RECORD_LIMIT), Moving, SCHEMA_VERSION)
        except Damaged as error:
            raise error.error(f"{path} on {host.name}") from error
    return None


def write(host: Host, point: str, disk: PointDisk) -> None:
    host.write(_path(point), seal(Moving(disk=disk).to_json_value()))


def remove(host: Host, point: str) -> None:
    """Absent is fine."""
    host.remove(_path(point))


def _path(point: str) -> str:
    return posixpath.join(layout.rebuilt(point), layout.MOVING)
