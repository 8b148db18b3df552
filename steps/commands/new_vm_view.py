"""The VM that a restore is to make beside the one that was backed up: every device, what becomes of it, and
why."""

from __future__ import annotations

from typing import TextIO

from pydantic import JsonValue

from runner.base.model import dump_value
from steps.commands import changes_view
from steps.values.planned_vm import PlannedVm


def print_text(planned: PlannedVm, stream: TextIO) -> None:
    title = f"{planned.source} becomes {planned.machine.name} in vCenter {planned.vcenter}."
    changes_view.print_text(title, planned.changes, stream)


def as_json(planned: PlannedVm) -> JsonValue:
    """Without what only our steps need."""
    return {
        "name": planned.machine.name,
        "vcenter": planned.vcenter,
        "point": planned.source,
        "disks": [
            {
                "key": disk.key,
                "label": disk.new.label,
                "capacity": disk.new.capacity,
                "datastore": disk.new.datastore,
                "thin": disk.new.thin,
            }
            for disk in planned.disks
        ],
        "changes": dump_value(planned.changes),
    }
