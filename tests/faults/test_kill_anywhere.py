"""A run is killed at every kind of moment; the same command then finishes it, and nothing is wrong, lost or left over."""

from __future__ import annotations

import json
import os

import pytest

from tests.e2e.site import Site, disk, inventory
from tests.faults.kills import Kill, chosen, until_done

INVENTORY = inventory(
    {"name": "vm", "disks": [disk(2000, "64 MiB", 0, 1), disk(2001, "24 MiB", 1, 2), disk(2002, "5 MiB", 2, 3)]}
)
KEYS = (2000, 2001, 2002)


@pytest.mark.parametrize("kill", chosen(os.environ), ids=str)
def test_a_killed_run_is_finished_by_the_same_command(site: Site, kill: Kill):
    before = set(site.points())
    until_done(site, site.job("vm"), kill)
    (point,) = set(site.points()) - before
    assert site.images_equal_sources("vm", point, KEYS)
    manifest = json.loads((point / "manifest.json").read_text())
    assert len(manifest["disks"]) == len(KEYS)
    assert site.snapshots() == []
    assert site.partials() == []
    site.assert_nothing_left()
    assert not list((site.directory / "hub").rglob(".sd-tmp-*"))
