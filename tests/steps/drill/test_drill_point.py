"""A drill as its steps make it, with a real QEMU, on a repository here and on one behind sshd."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.drill import drilling, planning
from steps.drill.drill_point import DrillPoint, DrillPointIn
from steps.points import stored
from steps.repository import layout, verification_records
from steps.values.drill import Drilled, DrillOptions, Evidence, Expectation, MachineLimits
from steps.values.planned_drill import PlannedDrill
from steps.watch.seen import Seen
from tests.chain import Chain
from tests.drills import add, login, needs_qemu
from tests.hub import Hub, read_only, tree
from tests.marks import marks

OPTIONS = DrillOptions(
    expect=(Expectation(serial="login:", within=120.0),),
    limits=MachineLimits(memory=64 * MiB, overlay=16 * MiB),
    accelerator="tcg",
)


def planned(hub: Hub, point: Path) -> PlannedDrill:
    with (ctx := hub.context()).closing:
        return planning.plan(ctx, stored.read(hub.host, hub.root, str(point)), OPTIONS)


@needs_qemu
@pytest.mark.slow
def test_an_incremental_that_boots_passes_and_is_as_it_was_afterwards(any_hub: Hub) -> None:
    made = Chain(Path(any_hub.root))
    full = add(made, b"")
    point = add(made, login(), parent=0)
    before = tree(Path(any_hub.root))
    inputs = DrillPointIn(planned=planned(any_hub, point))
    with (ctx := any_hub.context()).closing:
        out = DrillPoint().run(ctx, inputs, DrillPoint.Live())
    assert (out.verdict, out.host, out.written) == ("passed", any_hub.host.name, 0)
    after = tree(Path(any_hub.root))
    names = (".", "drilled.json", "drilled.png", "drilled-serial.log", f"../{layout.DRILL_LOCK}")
    kept = {os.path.relpath(marks(point) / name, any_hub.root) for name in names}
    assert after.keys() - before.keys() == kept
    assert {name: after[name] for name in before} == before
    assert (marks(point) / "drilled-serial.log").read_bytes() == b"pgtest1 login: "
    assert out.picture_here is not None
    assert Path(out.picture_here).read_bytes() == (marks(point) / "drilled.png").read_bytes()
    assert not (marks(full) / "drilled.json").exists()

    assert DrillPoint().check(any_hub.context(), inputs, None) == out.model_copy(update={"picture_here": None})
    assert DrillPoint().check(any_hub.context(run="20261130T170000Z-00000000"), inputs, None) is None, "of another run"


@pytest.mark.slow
def test_who_only_reads_a_repository_drills_its_points_as_well(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    """The boot is none: it takes seconds, and knows nothing of repositories."""
    inputs = DrillPointIn(planned=planned(hub, add(Chain(Path(hub.root)), login())))
    seen = Seen("passed", "so", (), 1.0, 0, b"PNG", b"login:", "tcg", "", "BIOS", "7.2.22")
    monkeypatch.setattr(drilling, "boot", lambda *_: seen)
    before = tree(Path(hub.root))
    with read_only(hub.root), (ctx := hub.context()).closing:
        out = DrillPoint().run(ctx, inputs, DrillPoint.Live())
    assert (out.verdict, out.picture) == ("passed", None)
    assert out.picture_here is not None and Path(out.picture_here).read_bytes() == b"PNG"
    assert any("what is found is not recorded" in warning for warning in hub.warnings)
    assert tree(Path(hub.root)) == before


def came_to(verdict: str, seen: str | None = None) -> Drilled:
    return Drilled(
        source="pgtest1/20261101T030000Z-0000",
        path="/backup/pgtest1-x/20261101T030000Z-0000",
        repository_host="store",
        host="lab1",
        verdict=verdict,
        why="the guest's kernel panicked",
        evidence=(Evidence(expected="the serial port says 'login:'", within=60.0, seen=seen, after=12.0),),
        accelerator="tcg",
        accelerator_why="host lab1 has no /dev/kvm",
        firmware="BIOS (SeaBIOS)",
        qemu="7.2.22",
        seconds=12.3,
        written=MiB,
        picture="/backup/pgtest1-x/20261101T030000Z-0000/drilled.png",
        picture_here="/state/pictures/drill.png",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "code", "sentence"),
    [
        pytest.param("failed", 5, "pgtest1/20261101T030000Z-0000 does not boot: the guest's kernel panicked; look at /backup/"
                     "pgtest1-x/20261101T030000Z-0000/drilled.png on store; an older point may boot", id="failed"),
        pytest.param("undecided", 1, "whether pgtest1/20261101T030000Z-0000 boots is undecided: ", id="undecided"),
    ],
)  # fmt: skip
def test_what_did_not_pass_is_an_alarm_that_says_where_to_look_and_what_to_do(
    verdict: str, code: int, sentence: str
) -> None:
    found = DrillPoint().report(came_to(verdict))
    assert found.alarm is not None
    assert found.alarm.exit_code == code
    assert found.alarm.text.startswith(sentence)
    assert verification_records.DRILL_PICTURE in found.alarm.text
    assert [picture.file for picture in found.pictures] == ["/state/pictures/drill.png"]
    assert found.result is not None
    assert "panicked" not in found.result.text, "the alarm says it, beside the last line"


def test_who_was_not_given_the_time_is_told_nothing_of_more_time() -> None:
    late = came_to("undecided").model_copy(update={"seconds": 61.0})
    late = late.model_copy(update={"evidence": (late.evidence[0].model_copy(update={"after": None}),)})
    full = late.model_copy(update={"seconds": 12.0, "why": "the guest wrote more than `overlay` allows: raise it"})
    told = [found.alarm.text for found in map(DrillPoint().report, (late, full)) if found.alarm is not None]
    assert ["--within" in text for text in told] == [True, False]


def test_what_passed_says_what_was_seen_and_with_what_it_was_booted() -> None:
    found = DrillPoint().report(came_to("passed", "login:"))
    assert found.alarm is None
    said = [statement.text for statement in found.statements]
    assert said == [
        "pgtest1/20261101T030000Z-0000 was booted: the serial port says 'login:', seen after 12.0 s.",
        "pgtest1/20261101T030000Z-0000: booted on lab1 with TCG (host lab1 has no /dev/kvm) and BIOS (SeaBIOS), QEMU 7.2.22, "
        "12.3 s; the guest wrote 1.0 MiB.",
    ]
