"""The metrics of `sendense coverage`: of every VM of every vCenter."""

from __future__ import annotations

from pathlib import Path

from steps.coverage.document import ALARMING, ORDER, Coverage
from steps.metrics.of_vms import Drills, Points, add_free, add_points
from steps.metrics.textfile import Metrics

PREFIX = "sendense_coverage"
"""Not that of runs: two files with one series are an error of node_exporter."""


def write(found: Coverage, path: Path) -> None:
    """Raises SendenseError."""
    metrics = Metrics(PREFIX)
    for one in found.vms:
        labels = {
            "vm": one.vm,
            "uuid": one.id,
            "vcenter": one.vcenter,
            "job": ",".join(one.jobs),
            "repository": one.repository or "",
        }
        # Where it is unknown what there is, to say that there is none would be a guess.
        if one.newest_good is not None or (one.jobs and one.state != "unknown"):
            verdict = None if one.drilled is None else one.drilled.verdict
            drills = Drills(one.drill_passed, verdict, is_known=not one.drill_unknown)
            points = Points(one.newest_good, one.read, one.stored, one.seconds, one.rpo, drills)
            add_points(metrics, points, **labels)
        if one.copied is not None:
            about = "The moment of the newest good point that another repository has a copy of."
            metrics.add("newest_copy_timestamp_seconds", about, one.copied.timestamp(), **labels)
        about = (
            "1 while the VM is in no job, without a good point, too old, without the copy that is due, or "
            "unknown; as `state` says."
        )
        metrics.add("alarming", about, float(one.state in ALARMING), **labels, state=one.state)
    for state in ORDER:
        metrics.add("vms", "VMs by state.", found.counts[state], state=state)
    metrics.add("unread", "What could not be read: then not all is known.", len(found.unread))
    metrics.add("timestamp_seconds", "When this was looked at.", found.at.timestamp())
    add_free(metrics, found.free)
    metrics.write(path)
