"""What a run found wrong with the points of its chain, recorded before anything relies on them.

That changed block tracking forgot a write marks the disk suspect in all points of the chain; what no longer
reads as it was read at the source (a block, the digests file) is recorded as what verifications at rest find,
and as they do it can be disproved. Either way the disk falls back to full.
"""

from __future__ import annotations

import posixpath
from datetime import UTC, datetime

from runner.base.errors import DifferenceError
from runner.step.context import Context
from steps.copy.extents import BLOCK
from steps.repository import parent, verification_records
from steps.repository.verification_records import DiskVerified, Suspicion
from steps.values.base import Base
from steps.values.image import Image


class ChainDoubtedError(DifferenceError):
    """The chain is marked; its parent is chosen again, in this run."""

    invalidates = ("base",)
    self_healing = True

    def __init__(self, key: int, point: str, why: str) -> None:
        super().__init__(
            f"disk {key} cannot be backed by {point}: {why}; the points of that chain are no longer "
            "trusted, and the disk falls back to full"
        )


def doubt(ctx: Context, base: Base, image: Image, why: str) -> ChainDoubtedError:
    """Marks the chain that backs `image`, durably, before anything else relies on it."""
    assert base.parent is not None
    suspicion = Suspicion(key=image.key, why=why, run=ctx.run.id, at=datetime.now(UTC))
    parent.mark_suspect(
        ctx.host(image.host), posixpath.dirname(image.directory), base.parent.point, suspicion
    )
    return ChainDoubtedError(image.key, base.parent.point, why)


def damaged(ctx: Context, base: Base, image: Image, why: str, block: int | None = None) -> ChainDoubtedError:
    """Records, durably, that the parent is not what it was, before anything else relies on it. `block`:
    offset of the one that was read, if one was."""
    assert base.parent is not None
    found = DiskVerified(
        key=image.key,
        at=datetime.now(UTC),
        level="metadata" if block is None else "sample",
        blocks=-(-image.capacity // BLOCK),
        compared=0 if block is None else 1,
        different=() if block is None else (block,),
        problem=why,
        run=ctx.run.id,
    )
    verification_records.damaged(ctx.host(image.host), posixpath.dirname(base.parent.digests), found)
    return ChainDoubtedError(image.key, base.parent.point, why)
