"""What is built on a restore point, looked at at the moment at which it is to be deleted.

The decision to delete it was made from a list of the VM's points, which may have been short, or is old. So
the manifests are read again, and the images are asked themselves: an image names the one below it whatever
any manifest says, also that of an unfinished run, of a point that was renamed by hand, and of one that no
manifest can be read of.
"""

from __future__ import annotations

import posixpath

from runner.base.errors import SendenseError
from runner.hosts.host import Host
from steps.qemu import backing
from steps.repository import layout, reader
from steps.repository.history import children
from steps.repository.vm_directory import VmDirectory


class HasChildrenError(SendenseError):
    def __init__(self, path: str, children: list[str]) -> None:
        super().__init__(
            f"{path} is kept: {', '.join(children)} {'is' if len(children) == 1 else 'are'} backed by it"
        )
        self.path = path
        self.children = tuple(children)


class MayHaveChildrenError(SendenseError):
    """Of what is beside it, not all can be read."""

    def __init__(self, path: str, why: str) -> None:
        super().__init__(f"{path} is kept, since it is unknown what is backed by it: {why}")
        self.path = path


def refuse_if_built_on(host: Host, directory: str, point: str) -> None:
    """Raises HasChildrenError, MayHaveChildrenError if anything in the VM's `directory` is or may be built on
    `point`; BadImageError if an image there cannot be read."""
    seen = reader.read(host, directory)
    path = posixpath.join(directory, point)
    if seen.unread:
        raise MayHaveChildrenError(path, f"{seen.unread[0].sentence}")
    found = [f"restore point {child.point}" for child in children(seen.entries, point)]
    if found := found or _by_images(host, seen, path):
        raise HasChildrenError(path, found)


def _by_images(host: Host, seen: VmDirectory, path: str) -> list[str]:
    """Images whose backing file is one of the point at `path`, by their own headers."""
    images = [
        image
        for image in sorted(seen.stored)
        if posixpath.dirname(image) != path and image.endswith((layout.QCOW2, layout.REBUILT))
    ]
    below = zip(images, backing.backing_files(host, images), strict=True)
    return [
        image
        for image, name in below
        if name
        and posixpath.dirname(posixpath.normpath(posixpath.join(posixpath.dirname(image), name))) == path
    ]
