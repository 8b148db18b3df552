"""What drills leave beside a point, for tests of all that tells of them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from steps.repository.verification_records import Drill

NO_DEVICE = "SeaBIOS says 'No bootable device'"
WHY = {
    "passed": "all that was expected was seen",
    "undecided": "nothing of what was expected was seen within 20 min",
    "failed": NO_DEVICE,
}


def drill(
    verdict: Literal["passed", "undecided", "failed"] = "passed",
    *,
    hours: float = 0.0,
    passed: float | None = None,
    now: datetime | None = None,
    **changes: Any,
) -> Drill:
    """Begun `hours` before `now`, and passed the last time `passed` hours before, if ever."""
    now = now or datetime.now(UTC)
    at = now - timedelta(hours=hours)
    before = at if verdict == "passed" else None if passed is None else now - timedelta(hours=passed)
    told = {"host": "hub", "accelerator": "tcg", "run": "20261123T170000Z-3f9a0c1e", **changes}
    return Drill(at=at, verdict=verdict, why=WHY[verdict], passed_at=before, **told)
