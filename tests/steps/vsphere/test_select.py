"""Which VMs a set's rules choose."""

from __future__ import annotations

from typing import Any

import pytest

from runner.step.items import Items, Where
from steps.vsphere import census
from steps.vsphere.rule import Rule
from tests.vcenter import Lab, Starts, machine, vcenters

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
