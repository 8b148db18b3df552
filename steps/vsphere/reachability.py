"""Whether a vCenter can be reached at all, asked once a run.

A connection that breaks hours into a copy comes back; one that was never made is a wrong name, a firewall or
a machine that is off, and the caller waits for the answer.
"""

from __future__ import annotations

from runner.hosts.local import LocalHost
from runner.step.context import Context
from steps.vsphere.errors import NotReached
from steps.vsphere.section import VCenter

CONNECT_TIMEOUT = 15.0
"""Seconds, name resolution aside: as long as ssh gets."""


def require(ctx: Context, name: str, vcenter: VCenter) -> None:
    """Raises NotReached, the same for the whole run, if no TCP connection to `vcenter` could be made."""
    failure = ctx.once(("failure to reach vCenter", name), lambda: _failure(vcenter))
    if failure:
        raise NotReached(failure)


def _failure(vcenter: VCenter) -> str:
    """Why it cannot be reached, in a sentence; empty if it can."""
    begins = f"vCenter {vcenter.authority} cannot be reached"
    why = LocalHost().reach(vcenter.server, vcenter.port, CONNECT_TIMEOUT)
    return why and (
        f"{begins}: {why}: check `server:` and `port:` of the vCenter in the job, and that port "
        f"{vcenter.port} there is open to this machine"
    )
