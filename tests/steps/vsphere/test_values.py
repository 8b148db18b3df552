"""What needs no vCenter: URLs, saved configurations, and sentences for failures of the network."""

from __future__ import annotations

import json
import socket
from datetime import UTC, datetime

import pytest
from pyVmomi import vim, vmodl

from steps.vsphere import faults, folder
from steps.vsphere.configuration import as_json
from steps.vsphere.errors import SnapshotRefused, Unreachable, VSphereError
from steps.vsphere.names import DatastoreFile
from steps.vsphere.section import VCenter


def section(server: str, port: int = 443) -> VCenter:
    return VCenter.from_json_value(
        {"server": server, "port": port, "username": "u", "password": {"env": "P"}, "tls": {"ca": "ca.pem"}}
    )


@pytest.mark.parametrize(
    ("server", "port", "authority"),
    [
        pytest.param("vc.example.com", 443, "vc.example.com", id="default-port"),
        pytest.param("vc.example.com", 8443, "vc.example.com:8443", id="other-port"),
        pytest.param("2001:db8::1", 443, "[2001:db8::1]", id="ipv6"),
        pytest.param("::1", 8443, "[::1]:8443", id="ipv6-and-port"),
    ],
)
def test_a_url_begins_with(server: str, port: int, authority: str) -> None:
    assert section(server, port).authority == authority
    assert folder.url(section(server, port), "DC", DatastoreFile("ds", "a/b.vmdk")).startswith(
        f"https://{authority}/folder/a/b.vmdk?"
    )


def test_names_are_escaped_once() -> None:
    url = folder.url(section("vc"), "Ost/DC%2f1 ü", DatastoreFile("my ds (1)", "a b/100% #1?&x-flat.vmdk"))
    assert url == (
        "https://vc/folder/a%20b/100%25%20%231%3F%26x-flat.vmdk?dcPath=Ost%2FDC%252f1%20%C3%BC&dsName=my%20ds%20%281%29"
    )


def test_the_flat_file_is_beside_the_descriptor() -> None:
    assert str(folder.flat_file(DatastoreFile("ds", "a.vmdk/b.vmdk"))) == "[ds] a.vmdk/b-flat.vmdk"
    with pytest.raises(VSphereError, match=r"no \.vmdk file"):
        folder.flat_file(DatastoreFile("ds", "a/b.vmx"))


def test_a_configuration_becomes_json_with_types_and_without_what_is_unset() -> None:
    config = vim.vm.ConfigInfo(
        name="pgtest1",
        firmware="efi",
        modified=datetime(2026, 11, 23, 17, 0, tzinfo=UTC),
        changeTrackingEnabled=False,
        extraConfig=[vim.option.OptionValue(key="nvram", value="x.nvram")],
        hardware=vim.vm.VirtualHardware(
            numCPU=2,
            memoryMB=4096,
            device=[
                vim.vm.device.VirtualDisk(
                    key=2000,
                    capacityInBytes=(5 << 30) + 512,
                    backing=vim.vm.device.VirtualDisk.FlatVer2BackingInfo(
                        fileName="[ds] a/b.vmdk", datastore=vim.Datastore("datastore-11"), diskMode="persistent"
                    ),
                )
            ],
        ),
    )
    saved = json.loads(json.dumps(as_json(config)))
    assert (saved["_type"], saved["firmware"], saved["changeTrackingEnabled"]) == ("ConfigInfo", "efi", False)
    assert saved["modified"] == "2026-11-23T17:00:00+00:00"
    assert saved["extraConfig"] == [{"_type": "OptionValue", "key": "nvram", "value": "x.nvram"}]
    (disk,) = saved["hardware"]["device"]
    assert (disk["_type"], disk["key"], disk["capacityInBytes"]) == ("VirtualDisk", 2000, (5 << 30) + 512)
    assert disk["backing"] == {
        "_type": "FlatVer2BackingInfo",
        "datastore": "Datastore:datastore-11",
        "diskMode": "persistent",
        "fileName": "[ds] a/b.vmdk",
    }
    assert "managedBy" not in saved


@pytest.mark.parametrize(
    ("thrown", "error", "transient", "says"),
    [
        pytest.param(TimeoutError(), Unreachable, True, "no answer in time", id="timeout"),
        pytest.param(ConnectionResetError("reset"), Unreachable, True, "reset", id="reset"),
        pytest.param(
            socket.gaierror(socket.EAI_NONAME, "Name or service not known"),
            VSphereError,
            False,
            "the name of vCenter vc cannot be resolved: Name or service not known",
            id="no-such-name",
        ),
        pytest.param(
            socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution"),
            Unreachable,
            True,
            "cannot be resolved",
            id="dns-is-down",
        ),
        pytest.param(
            vim.fault.NoDiskSpace(file="[ds1] x", datastore="ds1"),
            SnapshotRefused,
            False,
            "ds1 has no space",
            id="full",
        ),
        pytest.param(vim.fault.NotAuthenticated(), Unreachable, True, "as soon as it begins", id="never-logged-in"),
        pytest.param(vmodl.fault.InvalidArgument(), VSphereError, False, "InvalidArgument", id="without-a-text"),
    ],
)
def test_what_is_thrown_becomes_one_sentence(
    thrown: Exception, error: type[VSphereError], transient: bool, says: str
) -> None:
    with pytest.raises(error) as caught, faults.explained("vCenter vc", "looking"):
        raise thrown
    assert caught.value.transient is transient
    assert says in str(caught.value)
    assert caught.value.__cause__ is thrown


def test_a_bug_stays_a_bug() -> None:
    with pytest.raises(KeyError), faults.explained("vCenter vc", "looking"):
        raise KeyError("a bug")
