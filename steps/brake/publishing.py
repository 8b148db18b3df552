"""What the brake makes of a restore point that is about to be published."""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

from runner.base.errors import Interrupted, SendenseError
from runner.hosts.host import Host
from steps.brake import of_set, released
from steps.brake.nights import Brake
from steps.repository.history import Entry
from steps.repository.manifest import Manifest, SetNight
from steps.repository.section import BrakeLimits
from steps.repository.verification_records import Marks
from steps.repository.vm_directory import VmDirectory
from steps.trail import publications

A_NIGHT = timedelta(hours=26)
"""In which a daily set has published all of its VMs."""


def judged(
    host: Host,
    before: VmDirectory,
    made: Manifest,
    limits: BrakeLimits | None,
    warn: Callable[[str], None],
) -> tuple[Manifest, Brake | None]:
    """`made` with what is to be known of it later, and whether the brake is on once it is there. `before`:
    the VM's points without it. Raises StateError for a record of a release that is damaged, HostError."""
    if limits is None:
        return made, None
    alone = released.judge_vm(host, _with(before, made), limits)
    night = _of_set(host, before, made, limits, warn, unusual=alone.unusual is True)
    made = made.model_copy(update={"unusual": alone.unusual, "of_set": night})
    brake = alone.brake if night is None else released.judge_vm(host, _with(before, made), limits).brake
    return made, brake


def _with(before: VmDirectory, made: Manifest) -> VmDirectory:
    new = Entry(posixpath.join(before.path, made.point), made, Marks())
    return replace(before, entries=(*before.entries, new))


def _of_set(
    host: Host,
    before: VmDirectory,
    made: Manifest,
    limits: BrakeLimits,
    warn: Callable[[str], None],
    *,
    unusual: bool,
) -> SetNight | None:
    """What could not be read is asked for again with the VM's next point."""
    name = of_set.name_of(made.job)
    if not name or limits.set_share >= 1:
        return None
    try:
        found = publications.of_set(host, posixpath.dirname(before.path), name, _since(before, made))
    except Interrupted:
        raise
    except SendenseError as error:
        warn(
            f"how much the other VMs of {name} changed is unknown, so the brake goes by this VM alone: "
            f"{error.message}"
        )
        return None
    return of_set.night(name, found, before.name, limits, unusual=unusual)


def _since(before: VmDirectory, made: Manifest) -> datetime:
    """A cycle before the VM's last point, so that all VMs of the set are known by then."""
    published = [entry.manifest.published for entry in before.entries[-2:]] or [made.published]
    return min(published[0], published[-1] - A_NIGHT)
