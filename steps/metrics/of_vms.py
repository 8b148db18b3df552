"""What both commands with `--metrics` say of a VM's restore points: what is in the repository now. A metric
of a success in the past stays green when the points are gone."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from steps.metrics.textfile import Metrics

ABOUT = {
    "newest_good_point_timestamp_seconds": "The moment of its newest good restore point; 0: there is none.",
    "newest_good_point_read_bytes": "Bytes that were read at the source for that point.",
    "newest_good_point_stored_bytes": "Bytes that its images and digests take on disk.",
    "newest_good_point_seconds": "How long the run that made it took.",
    "rpo_seconds": "How old the newest good point may be.",
    "last_passed_drill_timestamp_seconds": "When a point of it last passed a drill; 0: none did.",
    "last_drill_passed": "1 if its newest drill passed; 0 if it failed or is undecided, as `verdict` says.",
}


@dataclass(frozen=True)
class Drills:
    """Of one VM."""

    passed: datetime | None = None
    """When a point of it last passed one."""
    verdict: str | None = None
    """Of the newest; None: there was none, or none that could be read."""
    is_known: bool = True
    """Whether all records of drills could be read: else to say that none passed would be a guess."""


@dataclass(frozen=True)
class Points:
    """Of one VM."""

    moment: datetime | None
    """Of its newest good point."""
    read: int | None
    stored: int | None
    seconds: float | None
    rpo: float | None
    drills: Drills = Drills()


def add_points(metrics: Metrics, found: Points, **labels: str) -> None:
    # Zero, not nothing: an alert on an age must fire for a VM that never had a point.
    timestamp = 0.0 if found.moment is None else found.moment.timestamp()
    for name, value in (
        ("newest_good_point_timestamp_seconds", timestamp),
        ("newest_good_point_read_bytes", found.read),
        ("newest_good_point_stored_bytes", found.stored),
        ("newest_good_point_seconds", found.seconds),
        ("rpo_seconds", found.rpo),
        ("last_passed_drill_timestamp_seconds", _passed(found.drills)),
    ):
        metrics.add(name, ABOUT[name], value, **labels)
    if (verdict := found.drills.verdict) is not None:
        passed = float(verdict == "passed")
        metrics.add("last_drill_passed", ABOUT["last_drill_passed"], passed, **labels, verdict=verdict)


def _passed(drills: Drills) -> float | None:
    if drills.passed is None:
        return 0.0 if drills.is_known else None
    return drills.passed.timestamp()


def add_free(metrics: Metrics, free: dict[str, int], **labels: str) -> None:
    for repository, count in free.items():
        about = "Bytes free for the repository, on its host."
        metrics.add("repository_free_bytes", about, count, repository=repository, **labels)
