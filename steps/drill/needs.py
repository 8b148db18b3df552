"""What a drill needs of its hosts, seen before it begins."""

from __future__ import annotations

import posixpath

from runner.base.errors import Interrupted, SendenseError
from runner.events.check_results import Observation
from runner.step.context import Context
from runner.step.preflight import Preflight
from runner.step.space import Space
from steps.boot import accelerator
from steps.drill import drilling, planning
from steps.efi import ovmf
from steps.nbd import forwards
from steps.qemu import nbd_server
from steps.qemu.system import QEMU_SYSTEM
from steps.values.drill import Drilled, DrillOptions
from steps.values.planned_drill import PlannedDrill
from steps.values.stored_point import StoredPoint


def of(ctx: Context, planned: PlannedDrill) -> Preflight[Drilled]:
    host, there = ctx.host(planned.host), ctx.host(planned.point.host)
    observations = [QEMU_SYSTEM.observe(ctx, host), nbd_server.QEMU_NBD.observe(ctx, there)]
    if planned.machine.firmware != "bios":
        observations.append(ovmf.observation(ctx, host))
    if observations[1].state != "wrong":
        observations.append(forwards.examine(ctx, there))
    if planned.host != planned.point.host and not host.local:
        observations.append(forwards.examine_lending(ctx, host))
    if lack := ctx.shortfall(planned.host, **drilling.takes(planned)):
        return Preflight(observations=tuple(observations), problems=(lack,))
    try:
        return Preflight(observations=tuple(observations), space=_room(ctx, planned))
    except Interrupted:
        raise
    except SendenseError as error:
        return Preflight(observations=tuple(observations), problems=(error.message,))


def of_accelerator(ctx: Context, point: StoredPoint, options: DrillOptions) -> tuple[Observation, ...]:
    """For a doctor alone: a guest is booted for it. What keeps the point from being drilled at all is met
    when it is planned."""
    if options.accelerator == "tcg":
        return ()
    try:
        host = planning.plan(ctx, point, options).host
    except Interrupted:
        raise
    except SendenseError:
        return ()
    found = accelerator.observation(ctx, ctx.host(host))
    if options.accelerator == "kvm" and found.state == "noted":
        found = found.model_copy(update={"state": "wrong"})
    return (found,)


def _room(ctx: Context, planned: PlannedDrill) -> Space:
    """Of what the guest may write. Raises NoRoomError, HostError."""
    host, overlay = ctx.host(planned.host), planned.limits.overlay
    with host.tempdir(overlay, on_disk=True) as directory:
        path, free = posixpath.dirname(directory), host.free_bytes(directory)
    return Space(
        host=planned.host, path=path, free=free, least=0, most=overlay, of=f"what {planned.source} writes"
    )
