"""The VM that a restore is to make beside the one that was backed up: every device, what becomes of it, and
why."""

from __future__ import annotations

from typing import TextIO

from pydantic import JsonValue

from runner.base.model import dump_value
from runner.console.tables import print_table
from steps.values.planned_vm import PlannedVm
from steps.vsphere.vm_spec import Change

_SIGNS = {"kept": "=", "changed": "~", "left out": "-"}
SAME = "the same"
NOTHING = "–"
LEGEND = "= kept, ~ changed, - left out; ! the guest or its owner may notice"


def print_text(planned: PlannedVm, stream: TextIO) -> None:
    title = f"{planned.source} becomes {planned.machine.name} in vCenter {planned.vcenter}."
    columns = ("", "what", "was", "becomes", "why")
    print_table(title, columns, [_row(change) for change in planned.changes], stream=stream)
    stream.write(f"{LEGEND}\n\n")


def _row(change: Change) -> tuple[str, ...]:
    sign = _SIGNS[change.kind] + ("!" if change.warn else "")
    becomes = "left out" if change.kind == "left out" else change.becomes
    return (sign, change.what, change.was or NOTHING, SAME if becomes == change.was else becomes, change.why)


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
