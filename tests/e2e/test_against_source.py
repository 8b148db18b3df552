"""A restore point against the VM as it is now: what tracking calls unchanged must be what the point was made of."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from runner.base.units import KiB, MiB
from runner.cli import main
from runner.hosts.local import LocalHost
from steps.lab.lab import seeded
from steps.lab.simulator.machine_spec import DiskSpec
from steps.repository import verification_records
from steps.repository.verification_records import DiskCompared, Verification
from tests import estate
from tests.e2e.site import Site, disk, inventory

INVENTORY = inventory(
    {"name": "app", "disks": [disk(2000, "6 MiB", 0, 1), disk(2001, "3 MiB + 512 B", 1, 2)], "change_tracking": True}
)


def against_source(site: Site, point: Path, capsys: pytest.CaptureFixture[str]) -> tuple[int, str]:
    return verify(site, point, capsys, "--against-source")


def verify(site: Site, point: Path, capsys: pytest.CaptureFixture[str], *how: str) -> tuple[int, str]:
    """The exit code of the command, and all that it said."""
    capsys.readouterr()
    with pytest.raises(SystemExit) as left:
        main(["verify", str(site.job("app")), point.name, *how, "--state", str(site.state)])
    said = capsys.readouterr()
    return int(left.value.code or 0), " ".join((said.out + said.err).split())


def recorded(point: Path) -> tuple[DiskCompared, ...]:
    found = verification_records.read(LocalHost(), str(point)).against_source
    assert found is not None
    return found.disks


def at_rest(point: Path) -> Verification:
    found = verification_records.read(LocalHost(), str(point)).verified
    assert found is not None
    return found


def test_what_a_vm_did_not_write_is_compared_and_a_forgotten_write_is_found(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    ran = site.run("app")
    assert ran.exit_code == 0, ran.error
    (point,) = ran.points()
    site.lab.write("app", 2000, MiB, seeded(1, 96 * KiB))
    code, said = against_source(site, point, capsys)
    assert code == 0, said
    assert "Points Verified Blocks As in the VM Changed" in said
    assert "chain 10 9 1" in said
    assert "every block compared, 10 blocks equal; against the VM, 9 blocks equal, 1 block written since, " in said
    assert site.snapshots() == []
    found = at_rest(point)
    assert (found.level, found.passed, [one.compared for one in found.disks]) == ("chain", True, [6, 4])
    assert [(one.compared, one.changed, one.passed) for one in recorded(point)] == [(5, 1, True), (4, 0, True)]

    site.lab.write("app", 2000, 4 * MiB + 5, iter([b"x"]))
    site.lab.fault("cbt-lie")  # of two areas of the first disk it tells the second one
    code, said = against_source(site, point, capsys)
    assert code == 5, said
    assert "disk 2000: 1 of 6 blocks of 1 MiB, the first at offset 1048576" in said
    assert [one.different for one in recorded(point)] == [(MiB,), ()]
    assert (site.snapshots(), site.partials()) == ([], [])

    code, said = verify(site, point, capsys)
    assert (code, at_rest(point).passed) == (0, True), said
    code, said = against_source(site, point, capsys)  # tracking tells of both areas now, so that they are not compared
    assert code == 5, said
    assert [(one.compared, one.different) for one in recorded(point)] == [(4, (MiB,)), (4, ())]

    after = site.run("app")
    assert after.exit_code == 0, after.error
    assert {key: after.output(f"parent[{key}]")["kind"] for key in (2000, 2001)} == {2000: "full", 2001: "incremental"}


def test_disks_whose_tracking_does_not_reach_back_are_named_and_not_compared(tmp_path: Path) -> None:
    first = estate.machine(
        estate.disk(2000, "4 MiB", content={"pattern": 1}),
        estate.disk(2001, "3 MiB", 1, content={"pattern": 2}),
        estate.disk(2002, "2 MiB", 2, content={"pattern": 3}),
        change_tracking=True,
    )
    with estate.estate(tmp_path, {"prod": estate.inventory(first)}) as site:
        point = site.backup(site.job())
        site.vcenter.grow(estate.VM, 2001, 5 * MiB)
        site.vcenter.remove_disk(estate.VM, 2002)
        site.vcenter.add_disk(estate.VM, DiskSpec.from_json_value(estate.disk(2003, "1 MiB", 3)))
        job = tmp_path / "verify.yaml"
        values = {"repository": "main", "points": [point.name], "level": "metadata", "transport": "https"}
        values |= {"against_source": True, "vcenter": "prod", "vm": estate.VM}
        job.write_text(
            yaml.safe_dump({"version": 1, "name": "v", "include": "site.yaml", "template": "verify", "vars": values})
        )
        ran = site.run(job)
        assert ran.exit_code == 0, ran.error
        assert at_rest(point).passed
        assert [(one.compared, one.changed, one.why_not) for one in recorded(point)] == [
            (4, 0, None),
            (0, 0, f"it has {5 * MiB} bytes, in the point it had {3 * MiB}"),
            (0, 0, "the VM's new snapshot does not have it"),
        ]
        assert ran.output("cleanup")["released"]
