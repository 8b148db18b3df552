"""What a new VM gets and no record holds: values of advanced settings and the notes, read from the restore
point at the moment when the VM is made."""

from __future__ import annotations

from runner.base.errors import StateError
from runner.hosts.host import Host
from runner.step.context import Context
from steps.saved_vm import file
from steps.saved_vm.configuration import Saved
from steps.values.planned_vm import PlannedVm
from steps.vsphere.vm_spec import Unrecorded


def configuration(host: Host, path: str) -> Saved:
    """The saved configuration at `path`. Raises StateError if it is gone or damaged."""
    return file.read(host, path, "restore the disks as files (`--to`)")


def read(ctx: Context, planned: PlannedVm) -> Unrecorded:
    """Raises StateError, HostError."""
    host = ctx.host(planned.repository_host)
    saved = configuration(host, planned.config)
    values = saved.extra_config
    missing = [name for name in planned.machine.extra_config if name not in values]
    if missing:
        raise StateError(
            f"{planned.config} on {host.name} was changed since the restore was planned: it has no advanced "
            f"setting {missing[0]} any longer; run again with --fresh"
        )
    return Unrecorded({name: values[name] for name in planned.machine.extra_config}, saved.annotation)
