"""What a plan and a doctor say of the drill at a backup's end, before there is a point."""

from __future__ import annotations

from dataclasses import replace

import pytest

from runner.step.preflight import Known
from steps.drill import drill_new_point
from steps.drill.drill_new_point import DrillNewPoint, NewPointDrilled
from steps.qemu.system import QEMU_SYSTEM
from steps.values.drill import Drilled, DrillPolicy, Expectation, Verdict
from tests.drills import needs_qemu
from tests.hub import Hub

ABSENT = replace(QEMU_SYSTEM, program="qemu-system-none", asks=("qemu-system-none", "--version"))
POLICY = DrillPolicy(every=7 * 86400.0, expect=(Expectation(serial="login:"),))


@needs_qemu
def test_a_host_with_qemu_is_told(hub: Hub) -> None:
    found = DrillNewPoint().preflight(hub.context(), Known(told={"policy": POLICY, "repository": "main"}))
    assert [(one.subject, one.state) for one in found.observations] == [("host hub", "good")]
    assert {setting.name: setting.text for setting in found.settings} == {
        "drill": "when none passed for 7 d 00 h",
        "expected": "the serial port says 'login:'",
        "drill limits": "2.0 GiB of memory, 2 CPUs, 8.0 GiB written",
    }


@pytest.mark.parametrize("host", [None, "local"])
def test_a_host_without_qemu_is_noted_with_what_to_install_and_keeps_no_backup_from_beginning(
    hub: Hub, host: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(drill_new_point, "QEMU_SYSTEM", ABSENT)
    policy = POLICY.model_copy(update={"host": host})
    found = DrillNewPoint().preflight(hub.context(), Known(told={"policy": policy, "repository": "main"}))
    (one,) = found.observations
    assert (one.subject, one.state) == (f"host {host or 'hub'}", "noted")
    assert "install qemu-system-none 7.1 or newer there (Debian package qemu-system-x86)" in one.sentence
    assert found.problems == ()


def test_why_it_was_not_drilled_stands_in_the_report() -> None:
    skipped = DrillNewPoint().report(NewPointDrilled(point="vm/p", skipped="p passed a drill 2 d ago"))
    assert [(one.about, one.text) for one in skipped.statements] == [("how", "Not drilled: p passed a drill 2 d ago.")]
    trouble = DrillNewPoint().report(NewPointDrilled(point="vm/p", trouble="host hub has no QEMU"))
    assert [(one.about, one.text) for one in trouble.statements] == [
        ("noted", "vm/p was not drilled: host hub has no QEMU.")
    ]
    assert trouble.alarm is None
    assert trouble.result is not None
    assert (trouble.result.text, trouble.result.warns) == ("vm/p, not drilled", True)


@pytest.mark.parametrize(
    ("verdict", "said"),
    [("passed", "drill passed"), ("failed", "drill FAILED"), ("undecided", "drill undecided")],
)
def test_what_did_not_pass_is_a_warning_of_the_backup_in_few_words(verdict: Verdict, said: str) -> None:
    drilled = Drilled(
        source="vm/p",
        path="/backup/vm/p",
        repository_host="hub",
        host="hub",
        verdict=verdict,
        why="the kernel panicked: 'Kernel panic - not syncing'",
        evidence=(),
        accelerator="tcg",
    )
    found = DrillNewPoint().report(NewPointDrilled(point="vm/p", drilled=drilled))
    assert found.alarm is None
    assert found.result is not None
    assert (found.result.text, found.result.warns) == (f"vm/p, {said}", verdict != "passed")
