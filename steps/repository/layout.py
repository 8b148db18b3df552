"""Names in a repository. Whatever a VM is called, no name made here leaves the repository.

<repository>/repository.json
<repository>/.state/<job>/<run>/                where jobs keep their runs' records here
<repository>/<vm slug>-<instanceUuid>/          .lock, .drill-lock, identities.json of an adopted VM,
tracking-reset.json, beside the points
    <run id>.partial/                           until published
    20261123T170000Z-3f9a/                      a restore point; .dropped behind its name while it is deleted
        manifest.json  disk-2000.qcow2  disk-2000.blake3  vm/config.json  vm/inventory.json  vm/<nvram>
    20261123T170000Z-3f9a.marks/                what became known of it since: the point itself may be locked
    20261123T170000Z-3f9a.rebuilt/              while an image of it is put on another one: the image of then
    locked.json                                 points that are locked, until when; written by the host's root
    brake-released.json                         up to which point somebody looked at why it changed so much
<repository>/lock-timer.json                    what root's timer found when it looked last; written by it
<repository>/log.jsonl                          who did what to which point
"""

from __future__ import annotations

import functools
import re
from datetime import UTC, datetime

from runner.base.errors import SendenseError
from runner.base.slug import SLUG_LENGTH, slug
from runner.base.units import MiB

MARKER = "repository.json"
STATE = ".state"
"""Records of the runs of jobs that keep them with the repository."""
LOCK = ".lock"
DRILL_LOCK = ".drill-lock"
"""In a VM's directory: held while the record of a drill of one of its points is written."""
IDENTITIES = "identities.json"
"""In a VM's directory: under which identities it was adopted."""
TRACKING_RESET = "tracking-reset.json"
"""Beside a VM's points, once its changed block tracking was reset and as long as no run found it working."""
MANIFEST = "manifest.json"
VM_FILES = "vm"
VM_CONFIG = "config.json"
VM_INVENTORY = "inventory.json"
"""What the vCenter knew of the VM beside its configuration. Points of before it was saved have none."""
PARTIAL = ".partial"
DROPPED = ".dropped"
"""Behind the name of a point that is being deleted."""
QCOW2 = ".qcow2"
MARKS = ".marks"
"""Behind the name of a point: the directory of what became known of it after it was published."""
LOCKED = "locked.json"
"""In a VM's directory: which of its points cannot be changed, and until when."""
LOCK_TIMER = "lock-timer.json"
"""Beside the marker: what root's timer found when it looked last."""
LOG = "log.jsonl"
"""Beside the marker: who did what to which point."""
BRAKE_RELEASED = "brake-released.json"
"""In a VM's directory: up to which of its points somebody has looked at why it changed so much."""
REBUILT = ".rebuilt"
"""Behind the name of a point: the directory in which an image of it is put on another one. Not in the point,
which may be locked meanwhile."""
MOVING = "moving.json"
"""In that directory, while the rebuilt image takes its place and the point's manifest does not say so yet."""

RECORD_LIMIT = 1 * MiB
"""A larger manifest or mark is damage: 64 disks with all their fields are 60 KiB."""

_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}", re.ASCII)
_POINT = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}", re.ASCII)
_UUID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", re.ASCII)
_VM = re.compile(
    rf"(?P<slug>[A-Za-z0-9][A-Za-z0-9._-]{{0,{SLUG_LENGTH - 1}}})-(?P<uuid>{_UUID.pattern})", re.ASCII
)


class BadNameError(SendenseError):
    """Something is not named as it must be to become part of a path."""


def vm_directory(name: str, instance_uuid: str) -> str:
    """Raises BadNameError if `instance_uuid` is none."""
    uuid = instance_uuid.lower()
    if not _UUID.fullmatch(uuid):
        raise BadNameError(f"VM {name!r} has the instance uuid {instance_uuid!r}, which is not a uuid")
    return f"{slug(name)}-{uuid}"


@functools.lru_cache(maxsize=1024)
def uuid_of_vm_directory(directory: str) -> str | None:
    """The instance uuid in a name that `vm_directory` made, else None."""
    found = _VM.fullmatch(directory)
    return found["uuid"] if found else None


def slug_of(directory: str) -> str:
    """The slug in the path of a VM's directory."""
    name = directory.rpartition("/")[2]
    found = _VM.fullmatch(name)
    return found["slug"] if found else slug(name)


def partial(run_id: str) -> str:
    """Raises BadNameError if `run_id` is none."""
    return f"{_checked_run(run_id)}{PARTIAL}"


def run_of_partial(name: str) -> str | None:
    """The id of the run whose unfinished point has that name; None if `partial` did not make it."""
    run = name.removesuffix(PARTIAL)
    return run if name != run and _RUN.fullmatch(run) else None


def point(created: datetime, run_id: str) -> str:
    """Named after the snapshot's moment; four hex digits of the run keep two points of one second apart."""
    return f"{created.astimezone(UTC):%Y%m%dT%H%M%SZ}-{_checked_run(run_id)[-8:-4]}"


def begun(run_id: str) -> datetime | None:
    """The moment in the id of a run; None if it is none."""
    try:
        return datetime.fromisoformat(_checked_run(run_id)[:16])
    except (BadNameError, ValueError):
        return None


def is_point(name: str) -> bool:
    return _POINT.fullmatch(name) is not None


def is_dropped(name: str) -> bool:
    return name.endswith(DROPPED) and is_point(name.removesuffix(DROPPED))


def may_be_of_run(point_name: str, run_id: str) -> bool:
    """Whether `point` could have made that name for the run; its manifest knows."""
    return is_point(point_name) and point_name[-4:] == _checked_run(run_id)[-8:-4]


def image(disk_key: int) -> str:
    return f"disk-{disk_key}{QCOW2}"


def marks(point: str) -> str:
    """The directory of what became known of the point in the directory `point`."""
    return f"{point}{MARKS}"


def point_of_marks(name: str) -> str | None:
    """The name of the point whose marks are in the directory of that name; None if it is none of `marks`."""
    point = name.removesuffix(MARKS)
    return point if point != name and is_point(point) else None


def rebuilt(point: str) -> str:
    """The directory in which images of the point in the directory `point` are rebuilt."""
    return f"{point}{REBUILT}"


def point_of_rebuilt(name: str) -> str | None:
    """The name of the point whose images are rebuilt in the directory of that name; None if it is none of
    `rebuilt`."""
    point = name.removesuffix(REBUILT)
    return point if point != name and is_point(point) else None


def is_image(name: str) -> bool:
    return re.fullmatch(r"disk-\d+\.qcow2", name) is not None


def backing(point_name: str, disk_key: int) -> str:
    """An image's backing file name: relative, so that a repository can be moved."""
    return f"../{point_name}/{image(disk_key)}"


def ledger(disk_key: int) -> str:
    """Among what the run keeps, not in the repository."""
    return f"disk-{disk_key}"


def digests(disk_key: int) -> str:
    return f"disk-{disk_key}.blake3"


def markers(disk_key: int) -> tuple[str, ...]:
    """What a run leaves beside an unpublished image to find its work again: copied, verified, and what it
    wrote."""
    return f"disk-{disk_key}.copied.json", f"disk-{disk_key}.verified.json", written(disk_key)


def written(disk_key: int) -> str:
    """Which blocks an incremental image holds itself."""
    return f"disk-{disk_key}.written.json"


def export(vm_slug: str, disk_key: int) -> str:
    """The NBD export name of a disk."""
    return f"{vm_slug}-disk-{disk_key}"


def _checked_run(run_id: str) -> str:
    if not _RUN.fullmatch(run_id):
        raise BadNameError(f"{run_id!r} is not the id of a run, such as 20261123T170000Z-3f9a0c1e")
    return run_id
