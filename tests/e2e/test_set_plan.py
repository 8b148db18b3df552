"""The plan of a set against a real vCenter's interface and real repositories: what it says, and how much it asks."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.app.options import Options, read_job
from runner.app.selecting import select
from runner.app.set_plan import plan_set
from runner.engine.set_plan import SetPlan
from runner.job.children import child
from runner.step.decision import together
from steps.lab.simulator import Inventory
from steps.repository import listing
from tests.estate import Estate, disk, estate, inventory, machine

DISKS = (disk(2000, "2 MiB", content={"pattern": 1}), disk(2001, "1 MiB", 1, content={"pattern": 2}))

REQUESTS = 30
"""Of a vCenter with 1,000 VMs, beside one for 100 that are selected, and what looks tags up."""


def gold(place: Estate, **select_: Any) -> Path:
    path = place.directory / "gold.yaml"
    document = {
        "version": 1,
        "include": "site.yaml",
        "template": "backup",
        "name": "gold",
        "select": {"from": "vcenters.prod", **select_},
        "vars": {"repository": "main", "transport": "https", "cbt": "enable"},
    }
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def planned(place: Estate, path: Path, *only: str) -> SetPlan:
    return plan_set(path, Options(state=place.directory / "state"), only)


def back_up(place: Estate, path: Path, *names: str) -> None:
    options = Options(state=place.directory / "state")
    for item in select(path, options, names).wanted:
        assert place.run(child(read_job(path, options), item)).exit_code == 0  # type: ignore[arg-type]


@pytest.fixture
def three(tmp_path: Path) -> Iterator[Estate]:
    vms = [machine(*DISKS, name=name, change_tracking=True) for name in ("db1", "db2", "web1")]
    with estate(tmp_path, {"prod": inventory(*vms)}) as made:
        yield made


@pytest.mark.slow
def test_each_vm_is_planned_by_what_its_own_points_and_disks_say(three: Estate) -> None:
    path = gold(three)
    back_up(three, path, "db1", "web1")
    three.vcenter.grow("web1", 2001, 2 << 20)
    made = planned(three, path)
    assert made.problems == ()
    assert [(row.name, row.what, row.disks) for row in made.rows] == [
        ("db1", "incremental", 2),
        ("db2", "full", 2),
        ("web1", "1 full, 1 incremental", 2),
    ]
    assert made.rows[1].why == "this is the VM's first restore point"
    assert "it has 2097152 bytes" in made.rows[2].why
    assert [(one.kind, one.items, one.disks) for one in made.sums if one.kind == "datastore"] == [("datastore", 3, 6)]
    (space,) = made.space
    assert space.path == str(three.repository())


@pytest.mark.slow
def test_a_vm_that_is_no_longer_selected_is_named_with_what_is_kept_of_it(three: Estate) -> None:
    path = gold(three)
    back_up(three, path, "db1", "db2")
    three.vcenter.rename("db2", "db2-test")
    three.vcenter.unregister("db1")
    made = planned(three, gold(three, **{"not": [{"name": "*-test"}]}))
    assert [row.name for row in made.rows] == ["web1"]
    assert sorted((one.name, one.points) for one in made.vanished) == [("db1", 1), ("db2", 1)]


@pytest.mark.slow
def test_the_plan_of_a_set_is_that_of_each_of_its_jobs(three: Estate) -> None:
    """One way to decide: what is read at once for all is what each would have read."""
    path = gold(three)
    back_up(three, path, "db1")
    options = Options(state=three.directory / "state")
    rows = {row.id: row for row in plan_set(path, options, settled=True).rows}
    for item in select(path, options).items.chosen:
        alone = three.plan(child(read_job(path, options), item))  # type: ignore[arg-type]
        nodes = tuple(node.id for node in alone.nodes if node.action == "run")
        decided = together(one for node in alone.nodes for one in node.decided)
        assert rows[item.id].nodes == nodes
        assert {one.subject: one for one in rows[item.id].decided} == decided


@pytest.mark.slow
def test_a_hundred_of_a_thousand_vms_are_planned_by_few_requests_and_one_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    all_, one = listing.find, listing.read_vm
    monkeypatch.setattr(
        listing, "find", lambda *args, **more: (read.append(str(more) or "all"), all_(*args, **more))[1]
    )
    monkeypatch.setattr(listing, "read_vm", lambda *args: (read.append("one"), one(*args))[1])
    with estate(tmp_path, {"prod": Inventory.from_json_value({"estate": {"vms": 1000}})}) as place:
        path = gold(place, any=[{"tag": "backup/gold"}])
        calls = place.vcenter.calls
        made = planned(place, path)
        count = len(made.rows)
        assert count > 50
        assert made.counts == {"full": count}
        asked = sum(number for call, number in calls.items() if not call.endswith(" /api"))
        assert asked <= REQUESTS + -(-count // 100), calls
        assert read == ["{}"]
