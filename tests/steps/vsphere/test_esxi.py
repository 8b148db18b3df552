"""VMs of ESXi hosts that are asked without a vCenter."""

from __future__ import annotations

import pytest

from steps.vsphere.errors import VSphereError
from steps.vsphere.find import Ambiguous, find
from tests.vcenter import Lab, Starts, machine, vcenters

start_vcenter = vcenters

HOST = "4c4c4544-0051-4210-8056-b4c04f4e3332"


def host(start_vcenter: Starts, *names: str, uuid: str = HOST) -> Lab:
    vms = [machine(name) for name in names or ("pgtest1",)]
    return start_vcenter(*vms, product="esxi", host_uuid=uuid, datacenter={"name": "ha-datacenter"})


def test_a_vm_is_of_the_host_by_the_uuid_of_its_hardware(start_vcenter: Starts) -> None:
    first, second = host(start_vcenter, uuid=HOST.upper()), host(start_vcenter, uuid=HOST.replace("4c", "5c"))
    assert first.discover().vm.vcenter_uuid == HOST
    assert second.discover().vm.vcenter_uuid == HOST.replace("4c", "5c")


def test_a_host_that_does_not_say_which_it_is_is_a_sentence(start_vcenter: Starts) -> None:
    lab = host(start_vcenter, uuid="")
    with pytest.raises(VSphereError, match="does not say the uuid of its hardware"):
        lab.discover()


def test_a_bare_number_is_a_moref_and_perhaps_also_a_name(start_vcenter: Starts) -> None:
    lab = host(start_vcenter, "first", "17", "third")
    assert find(lab.client, "16") == find(lab.client, "first") == "16"
    assert find(lab.client, "17") == "17", "it is both, of one VM"
    other = host(start_vcenter, "first", "16")
    with pytest.raises(Ambiguous):
        find(other.client, "16")
