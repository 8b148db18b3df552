"""Which VMs a set's rules choose."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from runner.step.items import Items, Where
from steps.vsphere import census
from steps.vsphere.errors import VSphereError
from steps.vsphere.rule import Rule
from tests.vcenter import Lab, Starts, disk, machine, vcenters

start_vcenter = vcenters


def rules(*written: dict[str, Any]) -> tuple[Rule, ...]:
    return tuple(Rule.from_json_value(one) for one in written)


def select(lab: Lab, *any_: dict[str, Any], none: tuple[dict[str, Any], ...] = ()) -> Items:
    where = Where(rules(*any_), rules(*none))
    return census.take(lab.context(), "prod", [where]).select(where)


@pytest.fixture
def lab(start_vcenter: Starts) -> Lab:
    return start_vcenter(
        machine("web-1", folder="prod"),
        machine("Web-2", folder="prod/web"),
        machine("db [x]", folder="prod", powered_on=False),
        machine("db x", folder="test"),
        machine("a/b 50%", folder="test"),
    )


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        pytest.param({"name": "web-*"}, {"web-1", "Web-2"}, id="glob-of-any-case"),
        pytest.param({"name": "WEB-?"}, {"web-1", "Web-2"}, id="one-character"),
        pytest.param({"name": "web"}, set(), id="a-name-is-whole"),
        pytest.param({"name": "db [x]"}, {"db [x]"}, id="brackets-are-themselves"),
        pytest.param({"name": "a/b*"}, {"a/b 50%"}, id="slash-as-people-write-it"),
        pytest.param({"name": "a%2fb 50%25"}, {"a/b 50%"}, id="escaped-as-vsphere-does"),
        pytest.param({"regex": "web-[0-9]"}, {"web-1", "Web-2"}, id="regex"),
        pytest.param({"regex": "(?-i:web-[0-9])"}, {"web-1"}, id="regex-that-minds-the-case"),
        pytest.param({"folder": "/DC1/vm/prod"}, {"web-1", "Web-2", "db [x]"}, id="folder-with-those-below"),
        pytest.param({"folder": "dc1/vm/prod/web"}, {"Web-2"}, id="folder-below"),
        pytest.param({"folder": "/*/vm/te*"}, {"db x", "a/b 50%"}, id="folder-glob"),
        pytest.param({"folder": "/DC1/vm/pro"}, set(), id="folder-names-are-whole"),
        pytest.param({"power": "off"}, {"db [x]"}, id="power"),
        pytest.param({"folder": "/DC1/vm/prod", "power": "on"}, {"web-1", "Web-2"}, id="keys-hold-together"),
    ],
)
def test_a_rule_chooses_by(lab: Lab, rule: dict[str, Any], names: set[str]) -> None:
    assert {item.name for item in select(lab, rule).chosen} == names


PLACES = {
    "datacenter": {
        "clusters": [
            {"name": "prod", "hosts": ["esx1.prod", "esx2.prod"], "pools": ["gold/inner", "silver"]},
            {"name": "lone.host", "hosts": ["lone.host"], "standalone": True},
        ],
        "vapps": [{"name": "shop", "folder": "apps", "cluster": "prod", "pool": "gold"}],
        "datastores": [{"name": "ds1"}, {"name": "ssd [a]", "cluster": "fast"}, {"name": "ssd [b]", "cluster": "fast"}],
    },
    "attributes": ["owner"],
}


@pytest.fixture
def estate(start_vcenter: Starts) -> Lab:
    return start_vcenter(
        machine("a", host="esx1.prod", pool="gold/inner", attributes={"Backup": "gold", "owner": "ann"}),
        machine("b", host="esx2.prod", pool="silver", datastore="ssd [a]", attributes={"Backup": "silver"}),
        machine("c", host="lone.host", datastore="ds1", disks=[disk(), disk(2001, 1, datastore="ssd [b]")]),
        machine("in the vapp", vapp="shop", host="esx1.prod"),
        **PLACES,
    )


@pytest.mark.parametrize(
    ("rule", "names"),
    [
        pytest.param({"cluster": "PROD"}, {"a", "b", "in the vapp"}, id="cluster"),
        pytest.param({"cluster": "/DC1/host/prod"}, {"a", "b", "in the vapp"}, id="cluster-by-path"),
        pytest.param({"cluster": "lone.host"}, set(), id="a-host-by-itself-is-no-cluster"),
        pytest.param({"host": "esx1*"}, {"a", "in the vapp"}, id="host"),
        pytest.param({"host": "lone.host"}, {"c"}, id="host-by-itself"),
        pytest.param({"datastore": "ssd [b]"}, {"c"}, id="datastore-of-any-disk"),
        pytest.param({"datastore": "fast"}, {"b", "c"}, id="datastore-cluster"),
        pytest.param({"pool": "gold"}, {"a", "in the vapp"}, id="pool-with-those-below"),
        pytest.param({"pool": "inner"}, {"a"}, id="pool-below"),
        pytest.param({"pool": "shop"}, {"in the vapp"}, id="vapp-is-a-pool"),
        pytest.param({"pool": "DC1/host/prod/Resources/silver"}, {"b"}, id="pool-by-path"),
        pytest.param({"folder": "/DC1/vm/apps"}, {"in the vapp"}, id="a-vapp-is-in-a-folder"),
        pytest.param({"attribute": {"backup": "GOLD"}}, {"a"}, id="attribute"),
        pytest.param({"attribute": {"Backup": "*"}}, {"a", "b"}, id="attribute-of-any-value"),
        pytest.param({"attribute": {"Backup": "*", "owner": "ann"}}, {"a"}, id="attributes-hold-together"),
    ],
)
def test_a_rule_chooses_by_what_a_vm_stands_on(estate: Lab, rule: dict[str, Any], names: set[str]) -> None:
    assert {item.name for item in select(estate, rule).chosen} == names


def test_what_an_item_stands_on_is_keyed_by_the_vcenter_and_its_references(estate: Lab) -> None:
    (item,) = select(estate, {"name": "c"}).chosen
    uuid = estate.client.uuid
    assert [(one.key, one.name) for one in item.stands_on["vcenter"]] == [(uuid, "prod")]
    assert [one.name for one in item.stands_on["host"]] == ["lone.host"]
    assert [one.name for one in item.stands_on["datastore"]] == ["ds1", "ssd [b]"]
    assert all(one.key.startswith(f"{uuid}/datastore-") for one in item.stands_on["datastore"])


def test_the_first_rule_that_fits_is_named_and_not_excludes_by_its_rule(lab: Lab) -> None:
    found = select(lab, {"name": "web-*"}, {"folder": "/DC1/vm/prod"}, none=({"name": "Web-2"},))
    assert {(item.name, item.rule) for item in found.chosen} == {
        ("web-1", "name web-*"),
        ("db [x]", "folder /DC1/vm/prod"),
    }
    assert [(one.item.name, one.why, one.by_rule) for one in found.left_out] == [("Web-2", "not: name Web-2", True)]


def test_without_a_rule_all_are_meant(lab: Lab) -> None:
    assert len(select(lab).chosen) == 5


@pytest.mark.parametrize(
    ("more", "why"),
    [
        pytest.param({"template": True}, "template", id="template"),
        pytest.param({"connection": "inaccessible"}, "inaccessible", id="inaccessible"),
        pytest.param({"connection": "orphaned"}, "orphaned", id="orphaned"),
        pytest.param({"connection": "invalid"}, "invalid", id="invalid"),
        pytest.param({"fault_tolerance": "secondary"}, "fault tolerance secondary", id="ft-secondary"),
        pytest.param({"fault_tolerance": "primary"}, "cannot be snapshotted: fault tolerance", id="ft-primary"),
        pytest.param({"configured": False}, "vCenter has no configuration of it", id="no-configuration"),
        pytest.param({"snapshots": "disabled"}, "cannot be snapshotted: disabled", id="snapshots-disabled"),
        pytest.param({"snapshots": "locked"}, "cannot be snapshotted: locked", id="snapshots-locked"),
    ],
)
def test_a_vm_that_no_job_can_take_is_left_out_with_the_reason(
    start_vcenter: Starts, more: dict[str, Any], why: str
) -> None:
    found = select(start_vcenter(machine("odd", **more), machine("even")), {"name": "*"})
    assert [item.name for item in found.chosen] == ["even"]
    assert [(one.item.name, one.why, one.by_rule) for one in found.left_out] == [("odd", why, False)]


@pytest.mark.parametrize(
    "more",
    [pytest.param({"connection": "disconnected"}, id="host-gone"), pytest.param({"question": "?"}, id="question")],
)
def test_what_may_pass_leaves_no_vm_out_so_that_its_job_fails_and_says_it(
    start_vcenter: Starts, more: dict[str, Any]
) -> None:
    assert len(select(start_vcenter(machine("odd", **more)), {"name": "*"}).chosen) == 1


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        pytest.param(
            {"folder": "/DC1/vm/prd"}, "there is no folder /DC1/vm/prd; did you mean DC1/vm/prod or", id="folder"
        ),
        pytest.param(
            {"folder": "/DC1/prod"}, "there is no folder /DC1/prod; did you mean DC1/vm/prod or", id="folder-without-vm"
        ),
        pytest.param({"name": "web-11"}, "there is no name web-11; did you mean web-1 or Web-2?", id="name"),
        pytest.param({"name": "app-*"}, "no VM has name app-*", id="glob"),
        pytest.param({"cluster": "cluster2"}, "there is no cluster cluster2; did you mean cluster1?", id="cluster"),
        pytest.param({"attribute": {"bakup": "x"}}, "there is no attribute bakup", id="attribute"),
        pytest.param(
            {"name": "web-1", "power": "off"}, "each of its keys fits some VM, and no VM all of them", id="together"
        ),
        pytest.param({"power": "suspended"}, "no VM has power suspended", id="power"),
    ],
)
def test_a_rule_that_fits_nothing_is_told_with_what_is_close(lab: Lab, rule: dict[str, Any], why: str) -> None:
    found = select(lab, {"name": "*"}, rule, none=(rule,))
    word = str(rules(rule)[0])
    assert set(found.unfit) == {word, f"not: {word}"}
    assert all(said.startswith(why) for said in found.unfit.values())


@pytest.mark.parametrize(
    ("rule", "missing"),
    [
        pytest.param({"power": "on"}, "runtime.powerState", id="power"),
        pytest.param({"cluster": "cluster1"}, "runtime.host", id="cluster"),
        pytest.param({"datastore": "ds1"}, "datastore", id="datastore"),
        pytest.param({"pool": "Resources"}, "resourcePool", id="pool"),
        pytest.param({"attribute": {"backup": "gold"}}, "customValue", id="attribute"),
        pytest.param({"tag": "backup/gold"}, "summary.config.instanceUuid", id="tag"),
    ],
)
def test_a_vm_of_which_a_rule_cannot_be_judged_is_never_taken_for_one_that_it_does_not_fit(
    start_vcenter: Starts, rule: dict[str, Any], missing: str
) -> None:
    hidden = ["runtime", "datastore", "resourcePool", "customValue", "summary"]
    odd = machine("odd", unreadable=hidden, attributes={"backup": "gold"}, tags=["backup/gold"])
    lab = start_vcenter(odd, machine("even", attributes={"backup": "gold"}, tags=["backup/gold"]))
    found = select(lab, rule)
    assert [item.name for item in found.chosen] == ["even"]
    assert [one.item.name for one in found.unread] == ["odd"]
    assert f"the account may not read {missing}" in found.unread[0].why
    assert [one.item.name for one in select(lab, {"name": "*"}, none=(rule,)).unread] == ["odd"]


def test_a_rule_that_can_be_judged_without_what_is_hidden_decides(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine("odd", unreadable=["runtime"]))
    assert [item.name for item in select(lab, {"power": "on"}, {"name": "odd"}).chosen] == ["odd"]


def test_a_chosen_vm_whose_identity_cannot_be_read_makes_the_set_incomplete(start_vcenter: Starts) -> None:
    found = select(start_vcenter(machine("odd", unreadable=["summary"])), {"name": "odd"})
    assert not found.chosen
    assert "the account may not read its instance uuid" in found.unread[0].why


def test_a_datastore_that_cannot_be_read_may_be_the_one_that_is_meant(start_vcenter: Starts) -> None:
    stores = [{"name": "ds1"}, {"name": "secret", "denied": ["System.Read"]}]
    lab = start_vcenter(machine("odd", datastore="secret"), machine("even"), datacenter={"datastores": stores})
    found = select(lab, {"datastore": "secret"})
    assert (found.chosen, [one.item.name for one in found.unread]) == ((), ["odd"])


@pytest.mark.parametrize(
    ("written", "says"),
    [
        pytest.param({}, "a rule needs a key: tag, folder", id="nothing"),
        pytest.param({"regex": "web-["}, "is no regular expression", id="regex"),
        pytest.param({"folder": "/"}, "write a path such as", id="root"),
        pytest.param({"power": "up"}, "'on', 'off' or 'suspended'", id="power"),
        pytest.param({"nam": "x"}, "Extra inputs are not permitted", id="key"),
        pytest.param({"name": ""}, "at least 1 character", id="empty"),
        pytest.param({"attribute": {}}, "at least 1 item", id="no-attribute"),
    ],
)
def test_a_rule_with_a_mistake_is_refused(written: dict[str, Any], says: str) -> None:
    with pytest.raises(ValidationError) as caught:
        rules(written)
    assert says in str(caught.value)


def test_a_rule_in_words() -> None:
    written = {"tag": "backup/gold", "attribute": {"owner": "ann", "tier": "1"}, "power": "on"}
    assert str(rules(written)[0]) == "tag backup/gold, attribute owner: ann, attribute tier: 1, power on"


def test_an_esxi_host_by_itself_lists_its_vms_and_has_no_attributes_or_tags(start_vcenter: Starts) -> None:
    lab = start_vcenter(machine("a"), product="esxi", datacenter={"name": "ha-datacenter"})
    assert [item.path for item in select(lab, {"name": "*"}).chosen] == ["ha-datacenter/vm/a"]
    for rule, says in (({"attribute": {"a": "b"}}, "an ESXi host by itself has none"), ({"tag": "a/b"}, "has no tags")):
        with pytest.raises(VSphereError, match=says):
            select(lab, rule)
