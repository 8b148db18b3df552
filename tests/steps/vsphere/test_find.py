"""Which VM a job means."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from steps.vsphere.errors import VSphereError
from steps.vsphere.find import Ambiguous, NotFound, find, locate
from steps.vsphere.names import DatastoreFile, datastore_file, unescape
from tests.vcenter import Lab, Starts, machine, vcenters

start_vcenter = vcenters

INSTANCE = "50131111-2222-3333-4444-555555555555"
BIOS = "4213aaaa-bbbb-cccc-dddd-eeeeeeeeeeee"


@pytest.fixture
def lab(start_vcenter: Starts) -> Lab:
    return start_vcenter(
        machine("pgtest1", folder="prod/db", instance_uuid=INSTANCE, uuid=BIOS),
        machine("web 1", folder="prod"),
        machine("web 1", folder="test"),
        machine("50% of a/b\\c", folder="prod"),
        machine("clone", folder="prod", uuid="4213ffff-0000-0000-0000-000000000001"),
        machine("clone of it", folder="test", uuid="4213ffff-0000-0000-0000-000000000001"),
        datacenter={"folder": "Europe/North", "name": "DC 1"},
    )


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param("pgtest1", id="name"),
        pytest.param("Europe/North/DC 1/vm/prod/db/pgtest1", id="path"),
        pytest.param("/Europe/North/DC 1/vm/prod/db/pgtest1", id="path-with-leading-slash"),
        pytest.param(INSTANCE, id="instance-uuid"),
        pytest.param(INSTANCE.upper(), id="instance-uuid-in-capitals"),
        pytest.param(BIOS, id="bios-uuid"),
    ],
)
def test_a_vm_is_found_by_its(lab: Lab, wanted: str) -> None:
    moref = find(lab.client, wanted)
    assert locate(lab.client, moref).path == "Europe/North/DC 1/vm/prod/db/pgtest1"
    assert find(lab.client, moref) == moref


@pytest.mark.parametrize(
    "wanted",
    [
        pytest.param("50% of a/b\\c", id="as-people-write-it"),
        pytest.param("50%25 of a%2fb%5cc", id="as-vsphere-stores-it"),
        pytest.param("Europe/North/DC 1/vm/prod/50%25 of a%2fb%5cc", id="path"),
    ],
)
def test_a_name_with_escaped_characters_is_found(lab: Lab, wanted: str) -> None:
    place = locate(lab.client, find(lab.client, wanted))
    assert unescape(place.path.rpartition("/")[2]) == "50% of a/b\\c"


def test_the_datacenter_is_an_inventory_path(lab: Lab) -> None:
    assert locate(lab.client, find(lab.client, "pgtest1")).datacenter == "Europe/North/DC 1"


def test_two_vms_of_one_name_are_an_error_that_lists_both(lab: Lab) -> None:
    with pytest.raises(Ambiguous) as caught:
        find(lab.client, "web 1")
    message = str(caught.value)
    for one in caught.value.candidates:
        assert f"{one.path} ({one.moref}, instance uuid {one.instance_uuid})" in message
        assert {find(lab.client, wanted) for wanted in (one.path, one.moref, one.instance_uuid)} == {one.moref}
    assert [one.path for one in caught.value.candidates] == [
        "Europe/North/DC 1/vm/prod/web 1",
        "Europe/North/DC 1/vm/test/web 1",
    ]


def test_a_bios_uuid_that_two_vms_share_is_ambiguous(lab: Lab) -> None:
    with pytest.raises(Ambiguous, match=r"vm/prod/clone \(vm-\d+, instance uuid .*vm/test/clone of it"):
        find(lab.client, "4213ffff-0000-0000-0000-000000000001")


def test_no_vm_is_an_error_with_close_names(lab: Lab) -> None:
    with pytest.raises(NotFound) as caught:
        find(lab.client, "pgtset1")
    assert "there is no VM 'pgtset1' in vCenter prod (127.0.0.1): did you mean pgtest1?" in str(caught.value)


@pytest.mark.parametrize(
    "wanted", ["zzz", "vm-999999", "DC 1/vm/nothing", "Europe/North/DC 1", "00000000-0000-0000-0000-000000000000"]
)
def test_what_is_not_there_is_said_with_the_number_of_vms_seen(lab: Lab, wanted: str) -> None:
    with pytest.raises(NotFound, match=f"there is no VM '{wanted}'"):
        find(lab.client, wanted)


def test_a_name_that_looks_like_another_vms_moref_is_ambiguous(start_vcenter: Starts) -> None:
    moref = find(start_vcenter(machine("first"), machine("second")).client, "first")
    lab = start_vcenter(machine("first"), machine(moref))
    with pytest.raises(Ambiguous, match=f"'{moref}' matches 2 VMs"):
        find(lab.client, moref)
    assert find(lab.client, "first") == moref


def test_names_of_many_vms_come_in_pages(start_vcenter: Starts, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("steps.vsphere.properties.PAGE", 2)
    lab = start_vcenter(*(machine(f"vm {number}", disks=[]) for number in range(7)))
    assert locate(lab.client, find(lab.client, "vm 6")).path == "DC1/vm/vm 6"
    assert lab.simulator.calls["ContinueRetrievePropertiesEx"] == 3


@given(st.text())
def test_unescaping_undoes_what_vsphere_escapes(name: str) -> None:
    stored = name.replace("%", "%25").replace("/", "%2f").replace("\\", "%5c")
    assert unescape(stored) == name
    assert unescape(stored.replace("%2f", "%2F").replace("%5c", "%5C")) == name


@pytest.mark.parametrize(
    ("text", "known", "parts"),
    [
        pytest.param("[ds1] a/b.vmdk", (), ("ds1", "a/b.vmdk"), id="plain"),
        pytest.param("[my ds (1)] a b/c.vmdk", (), ("my ds (1)", "a b/c.vmdk"), id="spaces"),
        pytest.param("[ds1]", (), ("ds1", ""), id="root"),
        pytest.param("[ds1]a/b.vmdk", (), ("ds1", "a/b.vmdk"), id="no-space"),
        pytest.param("[ssd [prod]] a/b.vmdk", (), ("ssd [prod]", "a/b.vmdk"), id="brackets"),
        pytest.param("[ssd [prod]]", (), ("ssd [prod]", ""), id="brackets-root"),
        pytest.param("[a] b] x] y/c.vmdk", ("ds1", "a] b"), ("a] b", "x] y/c.vmdk"), id="known"),
        pytest.param("[a] b] y/c.vmdk", ("a", "a] b"), ("a] b", "y/c.vmdk"), id="longest-first"),
        pytest.param("[a] b] y/c.vmdk", ("a",), ("a", "b] y/c.vmdk"), id="a-directory-with-a-bracket"),
        pytest.param("[50% a/b] y/c.vmdk", ("50%25 a%2fb",), ("50% a/b", "y/c.vmdk"), id="escaped-in-its-name-only"),
        pytest.param("[50%25 a%2fb] y/c.vmdk", ("50%25 a%2fb",), ("50%25 a%2fb", "y/c.vmdk"), id="escaped-in-both"),
    ],
)
def test_a_file_on_a_datastore_has_two_parts(text: str, known: tuple[str, ...], parts: tuple[str, str]) -> None:
    assert datastore_file(text, known) == DatastoreFile(*parts)


def test_what_is_no_datastore_path_is_refused() -> None:
    with pytest.raises(VSphereError, match="not a path on a datastore"):
        datastore_file("/vmfs/volumes/x.vmdk")
