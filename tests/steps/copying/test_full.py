"""A disk that fills where copies are kept: a sentence, nothing half is listed, and after making room all the rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from steps.repository import layout, marker
from tests.chain import Chain
from tests.hub import Hub, tree
from tests.steps.copying.conftest import HOST, run, site_of

pytestmark = pytest.mark.slow

ROOM = (pytest.param(3 * MiB, None, id="while it is written"),)
"""The first point takes half a MiB, the second four, and as much again to be made one without a backing file."""
if "TORTURE" in os.environ:
    ROOM += (pytest.param(6 * MiB, "daily", id="while it is flattened"), pytest.param(0, None, id="at once"))


@pytest.mark.parametrize(("room", "flatten"), ROOM)
def test_a_disk_that_fills_in_the_middle_of_a_copy(
    hub: Hub, small: Path, capsys: pytest.CaptureFixture[str], room: int, flatten: str | None
) -> None:
    chain = Chain(Path(hub.root))
    chain.add({2000: None}, {2000: ((0, 512, 1),)})
    chain.add({2000: 0}, {2000: ((0, 4 * MiB, 2),)})
    before = tree(chain.root)
    marker.init(HOST, str(small / "offsite"))
    site = site_of(chain.root, small / "offsite")
    there = Chain(chain.root.with_name("seen"), reference=chain.reference)  # what it reads lies beside it
    there.root.symlink_to(small / "offsite")
    form = () if flatten is None else ("--set", f"flatten={flatten}")
    ballast = small / "ballast"
    ballast.write_bytes(bytes(HOST.free_bytes(str(small)) - room - 64 * KiB))

    assert run(site, *form) == 1
    said = " ".join(capsys.readouterr().err.split())
    assert any(where in said for where in (f"no space left on hub for {small}/offsite/", "in offsite on hub failed"))
    assert "make room" in said, said
    assert said.count("FAILED") == 1
    assert there.whole() == (set(chain.points[:1]) if room else set())

    ballast.unlink()
    assert run(site, *form) == 0
    assert there.whole() == set(chain.points)
    assert not list(there.root.rglob(f"*{layout.PARTIAL}")) and not list(there.root.rglob(f"*{layout.REBUILT}"))
    assert tree(chain.root) == before
