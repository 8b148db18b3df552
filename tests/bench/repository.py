"""How long a repository of 10,000 manifests takes to be listed, and to be planned for."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from runner.hosts.local import LocalHost
from steps.points import retention_plan
from steps.repository import catalogue
from steps.repository.naming import Names
from steps.repository.retention import Policy
from tests.chain import many

AIM = 3.0


def seconds(act: Callable[[], object]) -> float:
    """The better of two."""
    found = []
    for _ in range(2):
        began = time.perf_counter()
        act()
        found.append(time.perf_counter() - began)
    return min(found)


def plan(host: LocalHost, root: str, policy: Policy) -> None:
    names = Names.read(host, root)
    retention_plan.of_vms(host, names, names.vms, policy, datetime.now(UTC), shares=False)


def main() -> None:
    host, policy = LocalHost(), Policy(keep_last=3, keep_daily=7, keep_weekly=5, keep_monthly=12)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory) / "repository"
        many(root, vms=100, points=100)
        listed = seconds(lambda: catalogue.read(host, str(root)))
        planned = seconds(lambda: plan(host, str(root), policy))
    print(f"10,000 manifests: points {listed:.1f} s, prune --dry-run {planned:.1f} s (aim {AIM:.0f} s)", flush=True)
