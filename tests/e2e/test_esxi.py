"""An ESXi host without a vCenter."""

from __future__ import annotations

from pathlib import Path

from steps.lab.simulator import Inventory
from tests.estate import disk, estate, machine, of, read

HOST = "4c4c4544-0051-4210-8056-b4c04f4e3332"
INSTANCE = "11111111-2222-3333-4444-555555555555"


def host(uuid: str) -> Inventory:
    tracked = disk(2000, "2 MiB", content={"pattern": 1})
    vm = machine(tracked, change_tracking=True, instance_uuid=INSTANCE)
    datacenter = {"name": "ha-datacenter", "datastores": [{"name": "ds1"}], "vms": [vm]}
    return Inventory.from_json_value({"product": "esxi", "host_uuid": uuid, "datacenters": [datacenter]})


def test_a_vm_of_an_esxi_host_without_vcenter_is_backed_up_and_is_that_hosts(tmp_path: Path) -> None:
    with estate(tmp_path, {"esx1": host(HOST)}) as place:
        first = place.backup(place.job(vm="16"))  # a bare number is a moref there
        assert read(first).vm.vcenter_uuid == HOST
        second = place.backup(place.job(vm="16"))
        assert of(second, 2000).parent == first.name
        place.assert_all_equal()
    with estate(tmp_path, {"esx1": host(HOST.replace("4c4c", "5c5c"))}) as place:
        ran = place.run(place.job(vm="16"))
        assert (ran.exit_code, ran.points()) == (1, [])
        assert "of another vCenter" in str(ran.failures())
