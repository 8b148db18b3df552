"""A file beside an image that says in which state it was verified: a crash may come before the record."""

from __future__ import annotations

import posixpath
from typing import ClassVar

from runner.base.errors import StateError
from runner.base.model import Model
from runner.base.sealed import Damaged, seal, unseal
from runner.hosts.host import Host
from steps.repository import layout
from steps.values.image import Image
from steps.values.verified import Verified


class VerifiedMarker(Model):
    """What was verified, and of which state of the image file."""

    VERSION: ClassVar[int] = 1

    schema_version: int = VERSION
    size: int
    mtime_ns: int
    verified: Verified

    @property
    def state(self) -> tuple[int, int]:
        """As `state_of` gives it."""
        return self.size, self.mtime_ns


def state_of(host: Host, image: Image) -> tuple[int, int]:
    """Size and time of last change of the image file; zeroes if it is gone, which no file is."""
    found = host.stat(image.path)
    return (found.size, found.mtime_ns) if found else (0, 0)


def read(host: Host, image: Image) -> VerifiedMarker | None:
    try:
        return unseal(host.read(_path(image)), VerifiedMarker, VerifiedMarker.VERSION)
    except (FileNotFoundError, StateError, Damaged):
        # Absent, damaged or not of this version: the work is done again, which makes it right.
        return None


def write(host: Host, image: Image, state: tuple[int, int], verified: Verified) -> None:
    marker = VerifiedMarker(size=state[0], mtime_ns=state[1], verified=verified)
    host.write(_path(image), seal(marker.to_json_value()))


def remove(host: Host, image: Image) -> None:
    host.remove(_path(image))


def _path(image: Image) -> str:
    return posixpath.join(image.directory, layout.markers(image.key)[1])
