"""Into which other repository a backup's restore points are copied, and how often."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from runner.base.model import SectionName
from runner.base.units import DAY
from steps.values.copy_form import CopyForm, is_later

When = Literal["always", "daily", "weekly", "monthly"]

_DAYS: dict[When, int] = {"always": 1, "daily": 1, "weekly": 7, "monthly": 31}
"""Between two copies, where all goes well and a backup is made each day."""


class CopyRule(CopyForm):
    """``{to: offsite, when: weekly, compress: zstd, flatten: monthly}``"""

    to: Annotated[str, SectionName("repositories")]
    """Where copies are kept, an entry of `repositories`"""
    when: When = "always"
    """After which backups: all of them, or the first of each day, week or month (UTC)"""

    def is_due(self, copied: datetime | None, made: datetime) -> bool:
        """`copied`: the moment of the newest point that has a copy; `made`: that of a newer one."""
        return copied is None or self.when == "always" or is_later(self.when, copied, made)

    def is_overdue(self, copied: datetime | None, newest: datetime) -> bool:
        """`newest`: the moment of the VM's newest good point. The day more is for the copying itself."""
        return copied is None or (newest - copied).total_seconds() > (_DAYS[self.when] + 1) * DAY
