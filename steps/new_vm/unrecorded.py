"""What a new VM gets of its saved configuration and no record may hold."""

from __future__ import annotations

import json

from runner.base.errors import SendenseError
from runner.base.units import MiB
from runner.step.context import Context
from steps.values.planned_vm import PlannedVm
from steps.vsphere.vm_spec import Unrecorded

LARGEST = 64 * MiB
"""Of a saved configuration; a large one has some 100 KiB."""


def read(ctx: Context, planned: PlannedVm) -> Unrecorded:
    """From the restore point, at the moment when the VM is made. Raises HostError, SendenseError."""
    host, path = ctx.host(planned.repository_host), planned.config
    try:
        saved = json.loads(host.read(path, limit=LARGEST))
        settings = {str(one["key"]): str(one.get("value", "")) for one in saved.get("extraConfig", ())}
        annotation = str(saved.get("annotation") or "")
    except FileNotFoundError as error:
        raise SendenseError(f"{path} on {host.name} is gone: the point lost its configuration") from error
    except (ValueError, KeyError, TypeError, AttributeError):
        # Not chained: the error of a parser quotes the text, which may hold passwords.
        raise SendenseError(f"{path} on {host.name} is not a saved configuration: it is damaged") from None
    wanted = planned.machine.extra_config
    return Unrecorded({key: settings[key] for key in wanted if key in settings}, annotation)
