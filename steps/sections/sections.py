"""The sections of a job file, with what the doctor looks at behind each entry.

What the entries are stands below, with those who work with them; here is what a run needs of them whatever its VM is, so
that all of it can be looked at though there may be no VM.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runner.base.units import MiB, human_bytes
from runner.events.check_results import Observation, good, noted, observe, wrong
from runner.hosts.host import Host
from runner.step.step import Context
from steps.nbd import forwards, tools
from steps.repository import marker
from steps.repository.section import Repository
from steps.vsphere.client import vcenter
from steps.vsphere.section import VCenter

NOTICE = timedelta(days=30)
"""Ahead of a certificate's end: whoever renews it may need the change to be approved."""

RENEW = "renew it in vCenter, and where the job pins it, write `thumbprint: [old, new]` before that is done"

LEAST_FREE = MiB
"""With less not even an empty image and a manifest fit, whatever the disks are."""


class RepositoryEntry(Repository):
    __doc__ = Repository.__doc__

    def examine(self, ctx: Context, name: str) -> tuple[Observation, ...]:
        """The programs and forwards are for images on it, which are written and read through exporters there."""
        host = ctx.host(self.host)
        there = marked(host, name, self.path)
        exporter = tools.examine(ctx, host, tools.QEMU_NBD)
        return (
            there,
            *(() if there.state == "wrong" else (_room(host, name, self.path),)),
            tools.examine(ctx, host, tools.QEMU_IMG),
            exporter,
            *(() if exporter.state == "wrong" else (forwards.examine(ctx, host),)),
        )


class VCenterEntry(VCenter):
    __doc__ = VCenter.__doc__

    def examine(self, ctx: Context, name: str) -> tuple[Observation, ...]:
        found = answers(ctx, name)
        return (found,) if found.state == "wrong" else (found, certificate(ctx, name))


def marked(host: Host, name: str, path: str) -> Observation:
    """Whether there is a repository at `path`."""
    return observe(
        f"repository {name}",
        "its marker",
        lambda: f"{path} on {host.name} is repository {marker.require(host, path).uuid}",
    )


def answers(ctx: Context, name: str) -> Observation:
    return observe(
        f"vCenter {name}",
        "that it answers, shows the certificate that the job trusts, and takes the login",
        lambda: vcenter(ctx, name).version,
    )


def certificate(ctx: Context, name: str) -> Observation:
    """Until when it is valid, which is said a month ahead."""
    subject, looked_at, ends = (
        f"vCenter {name}",
        "how long its certificate is valid",
        vcenter(ctx, name).certificate_ends,
    )
    if ends is None:
        return noted(subject, looked_at, "it does not say")
    if warning := expiry(ends):
        return noted(subject, looked_at, warning, RENEW)
    return good(subject, looked_at, f"until {ends:%Y-%m-%d}")


def expiry(ends: datetime) -> str:
    """What is to be said of a certificate that is valid until `ends`; empty while that is far ahead."""
    left = ends - datetime.now(UTC)
    return f"it expires on {ends:%Y-%m-%d}, in {max(0, left.days)} days" if left < NOTICE else ""


def _room(host: Host, name: str, path: str) -> Observation:
    subject, looked_at, free = f"repository {name}", "free space", host.free_bytes(path)
    found = f"{human_bytes(free)} free on {host.name}"
    return (
        wrong(subject, looked_at, found, "free some space there")
        if free < LEAST_FREE
        else good(subject, looked_at, found)
    )
