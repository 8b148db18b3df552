"""Whose a snapshot is, as its description says it: for a person who finds it in vSphere, and for `sweep
--orphans`."""

from __future__ import annotations

import os
import platform

from pydantic import ValidationError

from runner.base.model import Model
from runner.hosts.host import Host
from runner.step.context import Context


class Owner(Model):
    run: str
    """Its id."""
    job: str
    """The job's resolved name."""
    holder: str
    """Which process of which machine."""
    repository: str | None = None
    """The uuid in repository.json; None for a job that reserves nothing."""
    lock: str | None = None
    """Path of the VM's lock on the repository host: while it is held, the run may live."""


class Reserved:
    """What a run reserved for a VM; empty until it did."""

    repository: str | None = None
    host: Host | None = None
    lock: str | None = None


def reserved(ctx: Context, instance_uuid: str) -> Reserved:
    """One for each VM of a run: reserve fills it in."""
    return ctx.once(("reserved", instance_uuid), Reserved)


def describe(ctx: Context, instance_uuid: str) -> str:
    """One line of JSON."""
    place = reserved(ctx, instance_uuid)
    return Owner(
        run=ctx.run.id,
        job=ctx.run.job,
        holder=f"{platform.node()} pid {os.getpid()}",
        repository=place.repository,
        lock=place.lock,
    ).model_dump_json()


def read_owner(description: str) -> Owner | None:
    """None if it is not what `describe` writes."""
    try:
        return Owner.model_validate_json(description)
    except ValidationError:
        return None


PREFIX = "sendense-"
