"""The backing image of a disk's new image, and how it is known what to write."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model
from steps.repository.parent import Parent


class Base(Model):
    """The decision for one disk."""

    disk_key: int
    """The disk's, as vSphere gave it."""
    vcenter: str
    """The job's name of the vCenter that knows what changed."""
    vm: str
    """moref"""
    snapshot: str
    """moref of the moment up to which it takes what changed; empty in a plan that has none yet."""
    kind: Literal["full", "incremental"]
    """A full has no backing file, an incremental is backed by its parent's image."""
    by: Literal["all", "cbt", "digests"]
    """How it is known what to write: `all` writes everything, `cbt` what changed block tracking names,
    `digests` what differs from the parent's digests, for which everything is read."""
    reason: str
    """Why it is a full, or what backs the incremental."""
    parent: Parent | None = None
    """The parent that backs an incremental."""
    changed: int | None = None
    """Bytes that changed block tracking names."""
    untold: str = ""
    """Why changed block tracking is not asked though the job says `cbt`, so that it is by `digests`."""
    caught: str = ""
    """Of a full that takes the place of an incremental of this very run: what was found wrong with the
    chain."""
    distrusted: tuple[str, ...] = ()
    """The points that are no longer trusted for it, oldest first."""
