"""A repository with restore points, another one for their copies, and the job that copies."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import manifest, marker
from steps.repository.manifest import Manifest
from tests.chain import Chain
from tests.hub import Hub, hub_on

HOST = LocalHost("hub")


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(HOST, str(tmp_path / "main"), tmp_path) as opened:
        yield opened


@pytest.fixture
def chain(hub: Hub) -> Chain:
    """A full and three incrementals: new bytes, a block that became zero, and one that changed back; a disk that goes."""
    made = Chain(Path(hub.root))
    made.add({2000: None, 2001: None}, {2000: ((0, 512, 1), (2 * MiB, MiB, 7)), 2001: ((MiB, 512, 3),)})
    made.add({2000: 0, 2001: 0}, {2000: ((MiB, 4096, 2),), 2001: ((4 * MiB - 512, 512, 9),)})
    made.add({2000: 1}, {2000: ((2 * MiB, MiB, 0),)})
    made.add({2000: 2}, {2000: ((2 * MiB, MiB, 7),)})
    return made


@pytest.fixture
def site(chain: Chain) -> Path:
    offsite = chain.root.with_name("offsite")
    marker.init(HOST, str(offsite))
    return site_of(chain.root, offsite)


def site_of(main: Path, offsite: Path) -> Path:
    """With a job beside it that copies from the one into the other."""
    path = main.with_name("site.yaml")
    places = f"main: {{host: hub, path: {main}}}, offsite: {{host: hub, path: {offsite}}}"
    path.write_text(f"version: 1\nhosts: {{hub: local}}\nrepositories: {{{places}}}\n")
    path.with_name("copy.yaml").write_text(
        "version: 1\nname: copy\ninclude: site.yaml\ntemplate: copy\nvars: {repository: main, to: offsite}\n"
    )
    return path


def run(site: Path, *words: str) -> int:
    with pytest.raises(SystemExit) as left:
        main(("run", f"--state={site.with_name('state')}", str(site.with_name("copy.yaml")), *words))
    return int(left.value.code or 0)


def copies(chain: Chain) -> Chain:
    return replace(chain, root=chain.root.with_name("offsite"))


def manifest_of(point: Path) -> Manifest:
    found = manifest.read(HOST, str(point))
    assert found is not None
    return found
