"""How the images of copies are stored: compressed, and how often without a backing file."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Literal

from runner.base.model import JobModel

Period = Literal["daily", "weekly", "monthly"]


class CopyForm(JobModel):
    compress: Literal["zstd"] | None = None
    """How the images of copies are compressed where they are kept: `zstd`; none: not at all"""
    flatten: Period | None = None
    """Copies of which all images are without a backing file: the first of each day, week or month (UTC), made
    from what is there already, so that nothing more travels; none: only where there is nothing to stand on"""

    def is_flat(self, full: datetime | None, made: datetime) -> bool:
        """`full`: the moment of the newest older copy of which all images are without a backing file."""
        return self.flatten is not None and (full is None or is_later(self.flatten, full, made))


def is_later(period: Period, before: datetime, now: datetime) -> bool:
    """By the calendar: jobs begin a few minutes earlier or later every night."""
    one, other = before.astimezone(UTC).date(), now.astimezone(UTC).date()
    if period == "daily":
        return other > one
    if period == "weekly":
        return other.isocalendar()[:2] > one.isocalendar()[:2]
    return (other.year, other.month) > (one.year, one.month)
