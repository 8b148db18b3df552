"""What was seen, behaviour by behaviour. Others may read it, so it holds no name, address or uuid."""

from __future__ import annotations

from typing import Literal

from runner.base.model import Model

SCHEMA_VERSION = 1

Verdict = Literal["as assumed", "other", "not tried"]
VERDICTS: tuple[Verdict, ...] = ("as assumed", "other", "not tried")


class Behaviour(Model):
    """One row of the table in which the simulator's behaviours are listed, or a part of one."""

    number: int
    what: str
    verdict: Verdict
    seen: str = ""
    """What was seen instead, or why it was not tried."""


class Report(Model):
    schema_version: int = SCHEMA_VERSION
    product: str
    """Name, version and build, as the vCenter says them."""
    storage: str
    """Kind of the datastore: VMFS, NFS, vsan, VVOL …"""
    behaviours: tuple[Behaviour, ...]

    def count(self, verdict: Verdict) -> int:
        return sum(one.verdict == verdict for one in self.behaviours)
