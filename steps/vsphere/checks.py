"""What is looked at at a vCenter before anything is done there."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from runner.events.check_results import Observation, good, noted, observe
from runner.step.context import Context
from steps.vsphere.client import vcenter

NOTICE = timedelta(days=30)
"""Ahead of a certificate's end: renewing it may need an approval."""


RENEW = "renew it in vCenter, and where the job pins it, write `thumbprint: [old, new]` before that is done"


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
        return noted(subject, looked_at, "unknown")
    if warning := expiry(ends):
        return noted(subject, looked_at, warning, RENEW)
    return good(subject, looked_at, f"until {ends:%Y-%m-%d}")


def expiry(ends: datetime) -> str:
    """What is to be said of a certificate that is valid until `ends`; empty while that is far ahead."""
    left = ends - datetime.now(UTC)
    return f"it expires on {ends:%Y-%m-%d}, in {max(0, left.days)} days" if left < NOTICE else ""
