"""What vSphere gives back of a restored disk is compared: a block that is another ends the run with exit code 5, and the same
command mends it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from runner.events.events import Event, NodeFinished
from tests.e2e.returns import restore_job
from tests.estate import VM, Estate, disk, estate, inventory, machine
from tests.vddk_library import Vddk, vddk, vddk_distribution

__all__ = ["vddk", "vddk_distribution"]

pytestmark = pytest.mark.slow

SIZE = 3 * MiB
OFFSET = MiB + 512


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "3 MiB", content={"pattern": 1})))}) as made:
        yield made


class Spoiler:
    """Some bytes of the new disk become others once `node` has made it what it is to be."""

    def __init__(self, site: Estate, node: str) -> None:
        self._site = site
        self._node = node

    def __call__(self, event: Event) -> None:
        if not isinstance(event, NodeFinished) or event.node != self._node:
            return
        said = event.output if "file" in event.output else event.output["disks"][0]  # type: ignore[index]
        named = str(said["file"]).removeprefix("[ds1] ").removesuffix(".vmdk")  # type: ignore[index]
        file = self._site.directory / "prod" / "datastores" / "ds1" / f"{named}-flat.vmdk"
        with file.open("r+b") as opened:
            opened.seek(OFFSET)
            opened.write(b"\x99" * 512)


@pytest.mark.parametrize(
    ("way", "spoiled", "again"),
    [
        pytest.param("vddk", "write[2000]", {"write[2000]", "check[2000]", "finalize"}, id="vddk"),
        pytest.param("lease", "created", {"created", "check[2000]", "finalize"}, id="lease"),
    ],
)
def test_a_block_that_is_another_is_named_and_the_same_command_mends_it(
    site: Estate, way: str, spoiled: str, again: set[str], request: pytest.FixtureRequest
) -> None:
    library: Vddk | None = request.getfixturevalue("vddk") if way == "vddk" else None
    point = site.backup(site.job())
    job = restore_job(site, library, point, transport=way, name="back", spool=str(site.directory / "spool"))
    first = site.run(job, Spoiler(site, spoiled))
    assert first.exit_code == 5
    (why,) = first.failures().values()
    assert f"does not match its digest at offset {MiB}: " in why
    before = 0 if library is None else len(library.requests("w"))
    second = site.run(job)
    assert second.exit_code == 0, second.error
    assert again <= second.acted()
    if library is not None:
        assert [(at, length) for _, at, length in library.requests("w")[before:]] == [(MiB, 64 * KiB)]
    assert site.vcenter.read("back", 2000, 0, SIZE) == site.vcenter.read(VM, 2000, 0, SIZE)
