"""The marker: a directory is a repository only if it says so, since an unmounted disk must not fill the root
disk."""

from __future__ import annotations

import json
import posixpath
import uuid
from typing import Literal

from pydantic import ValidationError

from runner.base.errors import NewerError, SendenseError, StateError
from runner.base.model import Model
from runner.events.check_results import Observation, observe
from runner.hosts.host import Host
from steps.repository import layout, marker

ALLOWED_BEFORE = frozenset({"lost+found", layout.STATE})
"""What a directory may hold when it becomes a repository: a fresh file system's own, and the job's state."""


VERSION: Literal[1] = 1


class Marker(Model):
    """repository.json"""

    uuid: str
    version: Literal[1] = VERSION


class NotARepositoryError(SendenseError):
    """The path has no marker."""

    def __init__(self, host: str, path: str) -> None:
        super().__init__(
            f"{path} on {host} is not a repository: mount its disk; `sendense init JOB` is only for a new "
            "repository"
        )
        self.shared = f"repository {path} on {host}"


class NoPlaceError(SendenseError):
    """A repository cannot be made where its path would lead to."""

    def __init__(self, host: str, path: str, parent: str) -> None:
        super().__init__(
            f"{path} on {host} cannot be created, since {parent} does not exist: mount the repository's "
            "disk, or create that directory"
        )


class NotEmptyError(SendenseError):
    """A repository cannot be made among other files."""

    def __init__(self, host: str, path: str, names: list[str]) -> None:
        super().__init__(
            f"{path} on {host} has other files ({', '.join(names[:3])}…); give an empty or a new directory "
            "as the repository's path"
        )


def init(host: Host, path: str) -> Marker:
    """Makes `path` a repository; one that is there already is left as it is. Raises NotEmptyError,
    StateError, and NoPlaceError: what would lead to `path` is not made, since a mount point that is missing
    must not be either."""
    if (present := read(host, path)) is not None:
        return present
    parent = posixpath.dirname(path.rstrip("/"))
    if host.stat(parent) is None:
        raise NoPlaceError(host.name, path, parent)
    if other := sorted(set(host.listdir(path)) - ALLOWED_BEFORE):
        raise NotEmptyError(host.name, path, other)
    host.mkdir(path)
    made = Marker(uuid=str(uuid.uuid4()))
    host.write(posixpath.join(path, layout.MARKER), made.model_dump_json(indent=1).encode() + b"\n")
    return made


def require(host: Host, path: str) -> Marker:
    """The repository's marker. Raises NotARepositoryError, StateError."""
    if (present := read(host, path)) is None:
        raise NotARepositoryError(host.name, path)
    return present


def read(host: Host, path: str) -> Marker | None:
    """None if `path` is no repository. Raises StateError."""
    try:
        content = host.read(posixpath.join(path, layout.MARKER), limit=layout.RECORD_LIMIT)
    except FileNotFoundError:
        return None
    return parse(host, path, content)


def check(host: Host, path: str, content: bytes | None) -> None:
    """As `require`, of a marker that was read with other files; None: it did not come."""
    if content is None:
        require(host, path)
    else:
        parse(host, path, content)


def parse(host: Host, path: str, content: bytes) -> Marker:
    """Raises StateError."""
    try:
        return Marker.model_validate_json(content)
    except ValidationError as error:
        where = f"{path}/{layout.MARKER} on {host.name}"
        if (newer := _newer(content)) is not None:
            raise NewerError(where, newer) from error
        raise StateError(f"{where} is damaged: restore the file from a copy") from error


def _newer(content: bytes) -> int | None:
    """The version of a marker that is not of ours, but of a later one."""
    try:
        version = json.loads(content)["version"]
    except (ValueError, RecursionError, KeyError, TypeError):
        return None
    return version if isinstance(version, int) and version > VERSION else None


def marked(host: Host, name: str, path: str) -> Observation:
    """Whether there is a repository at `path`."""
    return observe(
        f"repository {name}",
        "its marker",
        lambda: f"{path} on {host.name} is repository {marker.require(host, path).uuid}",
    )
