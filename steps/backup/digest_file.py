"""The digests of a copied disk, as a file beside its image."""

from __future__ import annotations

import posixpath

from runner.hosts.host import Host
from runner.step.context import Context
from steps.copy.digests import file_size
from steps.repository import vm_place
from steps.values.copied import Copied
from steps.values.image import Image


def published(ctx: Context, host: Host, image: Image) -> bool:
    """Whether this run has made the image part of a restore point: it is then elsewhere, its markers are
    gone."""
    return vm_place.point_of_run(host, posixpath.dirname(image.directory), ctx.run.id) is not None


def digests_are_there(host: Host, copied: Copied) -> bool:
    found = host.stat(copied.digests)
    return found is not None and found.size == file_size(copied.image.capacity)
