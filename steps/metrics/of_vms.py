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
}


@dataclass(frozen=True)
class Points:
    """Of one VM."""

    moment: datetime | None
    """Of its newest good point."""
    read: int | None
    stored: int | None
    seconds: float | None
    rpo: float | None


def add_points(metrics: Metrics, found: Points, **labels: str) -> None:
    # Zero, not nothing: an alert on an age must fire for a VM that never had a point.
    timestamp = 0.0 if found.moment is None else found.moment.timestamp()
    for name, value in (
        ("newest_good_point_timestamp_seconds", timestamp),
        ("newest_good_point_read_bytes", found.read),
        ("newest_good_point_stored_bytes", found.stored),
        ("newest_good_point_seconds", found.seconds),
        ("rpo_seconds", found.rpo),
    ):
        metrics.add(name, ABOUT[name], value, **labels)


def add_free(metrics: Metrics, free: dict[str, int], **labels: str) -> None:
    for repository, count in free.items():
        about = "Bytes free for the repository, on its host."
        metrics.add("repository_free_bytes", about, count, repository=repository, **labels)
