"""Chains never mix: repositories used in turns, VMs of one name, one instance uuid in two vCenters; and the shipped job."""

from __future__ import annotations

from pathlib import Path

from runner.base.render import shipped
from runner.base.units import KiB, MiB
from tests.estate import VM, disk, estate, inventory, machine, of, read

DISK = disk(2000, "6 MiB", content={"pattern": 1})


def test_two_repositories_used_in_turns_each_have_a_chain_of_their_own(tmp_path: Path) -> None:
    vms = inventory(machine(DISK, change_tracking=True))
    with estate(tmp_path, {"prod": vms}, ("main", "second")) as site:
        jobs = {name: site.job(f"to-{name}", repository=name) for name in ("main", "second")}
        points: dict[str, list[Path]] = {"main": [], "second": []}
        for turn, name in enumerate(("main", "second", "main", "second", "second")):
            site.vcenter.write(VM, 2000, turn * MiB, bytes([turn + 1]) * 70 * KiB)
            points[name].append(site.backup(jobs[name]))
        for name, made in points.items():
            parents = [of(point, 2000).parent for point in made]
            assert parents == [None, *(point.name for point in made[:-1])]
            assert all(point.is_relative_to(site.repository(name)) for point in made)
        assert of(points["main"][1], 2000).changed == 4 * 64 * KiB  # what both turns wrote
        site.assert_all_equal()


def test_vms_of_one_name_in_two_vcenters_are_two_and_one_uuid_in_two_is_refused(tmp_path: Path) -> None:
    one = "5013e3a5-9f10-4a5e-8b32-000000000001"
    other = "5013e3a5-9f10-4a5e-8b32-000000000002"

    def vcenter(number: int, instance: str) -> object:
        vms = machine(DISK, change_tracking=True, **{"instance-uuid": instance})
        return inventory(vms, **{"instance-uuid": f"5e0d3f51-6c1f-4a57-9d3e-00000000000{number}"})

    vcenters = {"prod": vcenter(1, one), "lab": vcenter(2, other), "copy": vcenter(3, one)}
    with estate(tmp_path, vcenters) as site:
        jobs = {name: site.job(f"of-{name}", vcenter=name) for name in vcenters}
        points: dict[str, list[Path]] = {"prod": [], "lab": []}
        for turn, name in enumerate(("prod", "lab", "lab", "prod")):
            site.vcenters[name].write(VM, 2000, turn * MiB, bytes([turn + 1]) * 70 * KiB)
            points[name].append(site.backup(jobs[name], vcenter=name))
        for made in points.values():
            assert [of(point, 2000).parent for point in made] == [None, made[0].name]
            assert len({point.parent for point in made}) == 1
        refused = site.run(jobs["copy"])
        assert refused.exit_code == 1
        assert "give this vCenter's VMs a repository of their own" in refused.error
        assert len(list(site.repository().glob("*/*/manifest.json"))) == 4
        site.assert_all_equal()


def test_the_shipped_job_switches_tracking_on_and_is_incremental_from_the_second_night_on(tmp_path: Path) -> None:
    with estate(tmp_path, {"prod": inventory(machine(DISK))}) as site:
        settings = {"lab": str(tmp_path), "vm": VM, "transport": "https"}
        job = shipped("jobs/incremental.yaml")
        first = site.backup(job, overrides=settings)
        assert of(first, 2000).change_id is not None
        site.vcenter.write(VM, 2000, MiB, b"day" * KiB)
        second = site.backup(job, overrides=settings)
        assert of(second, 2000).parent == first.name
        assert read(second).kind == "incremental"
        site.assert_all_equal()
