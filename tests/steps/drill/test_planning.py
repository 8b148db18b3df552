"""How a point is to be booted is decided before anything is started, by what was saved with it and by its hosts."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import pytest

from runner.base.errors import StateError
from runner.base.units import MiB
from runner.hosts.host import Host
from runner.step.context import Context
from runner.step.preflight import Known
from runner.step.tools import Program, ToolMissing
from steps.boot.errors import BootError
from steps.drill import planning, words
from steps.drill.plan_drill import PlanDrill, PlanDrillIn
from steps.points import stored
from steps.qemu.system import QEMU_SYSTEM
from steps.repository import layout
from steps.values.drill import DrillOptions, Expectation, MachineLimits
from steps.values.planned_drill import PlannedDrill
from steps.values.stored_point import StoredPoint
from tests.chain import Chain
from tests.drills import add, saved
from tests.hub import Hub

LOGIN = Expectation(serial="login:")


@pytest.fixture
def made(hub: Hub) -> Chain:
    return Chain(Path(hub.root))


class QemuOn(Program):
    """That some hosts have, and others do not."""

    hosts: frozenset[str]

    def require(self, ctx: Context, host: Host) -> str:
        if host.name not in self.hosts:
            raise ToolMissing(host.name, self, "")
        return "7.2"


@pytest.fixture
def only_on(monkeypatch: pytest.MonkeyPatch):
    def only_on(*hosts: str) -> None:
        program = QemuOn(**vars(QEMU_SYSTEM))
        object.__setattr__(program, "hosts", frozenset(hosts))
        monkeypatch.setattr(planning, "QEMU_SYSTEM", program)

    return only_on


def point_of(hub: Hub, path: Path) -> StoredPoint:
    return stored.read(hub.host, hub.root, str(path))


def planned(hub: Hub, path: Path, **options: object) -> PlannedDrill:
    return planning.plan(hub.context(), point_of(hub, path), DrillOptions(expect=(LOGIN,), **options))


def test_it_has_the_devices_memory_and_cpus_that_the_vm_had_up_to_the_limits(hub: Hub, made: Chain, only_on) -> None:
    only_on("hub")
    hardware = {**saved()["hardware"], "numCPU": 4, "memoryMB": 4096}
    path = add(made, b"", hardware=hardware)
    found = planned(hub, path, limits=MachineLimits(memory=512 * MiB, cpus=2))
    assert (found.machine.memory, found.machine.cpus, found.machine.firmware) == (512 * MiB, 2, "bios")
    assert [(disk.key, disk.controller, disk.boot) for disk in found.machine.disks] == [(2000, "pvscsi", 0)]
    assert [card.model for card in found.machine.cards] == ["vmxnet3"]
    assert {change.what for change in found.machine.changes} == {"memory", "number of CPUs"}


@pytest.mark.parametrize(
    ("have", "told", "host", "why"),
    [
        pytest.param(
            ["hub", "local"], None, "hub", "the repository is there", id="the repository host, where it has QEMU"
        ),
        pytest.param(["local"], None, "local", "host hub has no qemu-system-x86_64", id="else this machine"),
        pytest.param(["hub", "local"], "local", "local", "", id="or where the job says"),
    ],
)
def test_where_it_is_booted(
    hub: Hub,
    made: Chain,
    only_on,
    have: list[str],
    told: str | None,
    host: str,
    why: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(hub.host, "local", False, raising=False)
    only_on(*have)
    found = planned(hub, add(made, b""), host=told)
    assert found.host == host
    assert found.host_why.startswith(why)


@pytest.mark.parametrize("told", [None, "local"])
def test_where_no_host_has_qemu_the_error_says_what_to_install_where(
    hub: Hub, made: Chain, only_on, told: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub.host, "local", False, raising=False)
    only_on()
    with pytest.raises(ToolMissing, match=r"host local has no qemu-system-x86_64: install .*qemu-system-x86") as error:
        planned(hub, add(made, b""), host=told)
    assert ("nor can the repository host boot it: host hub has no" in error.value.message) == (told is None)


@pytest.mark.parametrize(
    ("harm", "sentence"),
    [
        pytest.param(lambda file: file.unlink(), "is gone: its disks can be served", id="gone"),
        pytest.param(lambda file: file.write_bytes(b"{"), "is damaged: it is no JSON", id="no JSON"),
        pytest.param(lambda file: file.write_bytes(b"{}"), "is damaged: it has no hardware in it", id="no hardware"),
    ],
)
def test_a_point_without_its_configuration_is_a_sentence(hub: Hub, made: Chain, only_on, harm, sentence: str) -> None:
    only_on("hub")
    path = add(made, b"")
    harm(path / layout.VM_FILES / layout.VM_CONFIG)
    with pytest.raises(StateError, match=sentence):
        planned(hub, path)


def test_a_damaged_record_of_an_earlier_drill_is_met_before_anything_is_booted(hub: Hub, made: Chain, only_on) -> None:
    only_on("hub")
    path = add(made, b"")
    (path / "drilled.json").write_bytes(b"{")
    with pytest.raises(StateError, match=r"drilled\.json on hub is damaged"):
        planned(hub, path)


def test_what_cannot_be_had_of_its_machine_is_met_before_anything_is_booted(hub: Hub, made: Chain, only_on) -> None:
    only_on("hub")
    with pytest.raises(BootError, match=r"192\.0\.2\.0/24 is the address of a network, and no guest's"):
        planned(hub, add(made, b""), guest_address="192.0.2.0/24")


def test_what_was_not_tried_is_said_and_a_disk_left_out_on_demand_makes_a_failure_doubtful(
    hub: Hub, made: Chain, only_on
) -> None:
    only_on("hub")
    path = add(made, b"")
    of_all = point_of(hub, path)
    options = DrillOptions(expect=(LOGIN, Expectation(port=22, banner="SSH-")))
    found = planning.plan(hub.context(), of_all, options)
    tried = ("services of which nothing was expected", "the network beyond port 22")
    assert (words.not_tried(found), found.machine.doubts) == (tried, ())

    of_none = planning.plan(hub.context(), of_all.model_copy(update={"disks": ()}), options)
    (doubt,) = of_none.machine.doubts
    assert (doubt.kind, doubt.why) == (
        "disk",
        f"{of_all.disks[0].label} was left out, as it was asked for: drill it with all its disks",
    )
    assert words.not_tried(of_none)[2:] == ("Hard disk 1, which is left out",)


def test_what_is_secret_in_the_configuration_is_nowhere_in_the_plan(hub: Hub, made: Chain, only_on) -> None:
    only_on("hub")
    found = planned(hub, add(made, b""))
    assert "hunter2" not in json.dumps(found.to_json_value())


def settings(hub: Hub, path: Path, **told: object) -> Mapping[str, str]:
    inputs = PlanDrillIn(point=point_of(hub, path), **told)
    out = PlanDrill().run(hub.context(), inputs, PlanDrill.Live())
    fields = {name: getattr(inputs, name) for name in PlanDrillIn.model_fields}
    found = PlanDrill().preflight(hub.context(), Known(told=fields, inputs=inputs, out=out))
    return {setting.name: setting.text for setting in found.settings}


def test_a_plan_says_where_as_what_and_what_is_expected(hub: Hub, made: Chain, only_on) -> None:
    only_on("hub")
    path = add(made, b"")
    expect = (LOGIN, Expectation(port=22, banner="SSH-", within=90.0))
    found = settings(hub, path, expect=expect)
    assert found["drill"] == "BIOS, 64.0 MiB of memory, 1 CPU, 1 disk, on hub: the repository is there"
    assert found["expected"] == "the serial port says 'login:'; port 22 answers with 'SSH-' within 1 min 30 s"
    assert hub.warnings == []
    assert "nothing is expected, so it cannot pass" in settings(hub, path)["expected"]
    assert [text.partition(":")[0] for text in hub.warnings] == [
        f"of pgtest1/{path.name} nothing is expected, so it cannot pass"
    ]


def test_what_has_no_time_of_its_own_has_that_of_all(hub: Hub, made: Chain, only_on) -> None:
    only_on("hub")
    both = (LOGIN, Expectation(agent=True, within=9.0))
    found = planning.plan(hub.context(), point_of(hub, add(made, b"")), DrillOptions(expect=both, within=60.0))
    assert [one.within for one in found.expect] == [60.0, 9.0]


@pytest.mark.parametrize("address", ["192.0.2.10", "192.0.2.10/32", "192.0.2.999/24", "host/24"])
def test_a_guest_address_has_its_prefix(address: str) -> None:
    with pytest.raises(ValueError, match=r"such as 192\.0\.2\.10/24"):
        DrillOptions(guest_address=address)
