"""The file of metrics says what the coverage says, whatever VMs are called."""

from __future__ import annotations

import os
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from runner.base.errors import SendenseError
from steps.metrics import of_coverage
from steps.metrics.textfile import Metrics
from tests.census import item
from tests.steps.coverage.test_judgement import NOW, drilled, gold, judged, protection


def samples(file: Path) -> dict[tuple[str, str], list[tuple[dict[str, str], float]]]:
    """By metric and the VM's name."""
    found: dict[tuple[str, str], list[tuple[dict[str, str], float]]] = {}
    for family in text_string_to_metric_families(file.read_text()):
        for sample in family.samples:
            found.setdefault((sample.name, sample.labels.get("vm", "")), []).append((sample.labels, sample.value))
    return found


def test_the_metrics_of_a_coverage_are_what_it_says(tmp_path: Path) -> None:
    items = [item("old", 1), item("new", 2), item("never", 3), item("alone", 4)]
    points = [protection(1, 40), protection(2, 2, repository="offsite")]
    found = judged(items, *points, taken={1: gold(), 2: gold(None), 3: gold()}, unread=("vCenter dr: away",))
    file = tmp_path / "coverage.prom"
    of_coverage.write(found, file)
    told = samples(file)
    prefix = "sendense_coverage_"
    moments = {one.vm: one.newest_good.timestamp() if one.newest_good else 0.0 for one in found.vms if one.jobs}
    assert moments.keys() == {"old", "new", "never"}
    for vm, moment in moments.items():
        ((labels, value),) = told[f"{prefix}newest_good_point_timestamp_seconds", vm]
        assert value == pytest.approx(moment) and labels["job"] == "gold" and labels["vcenter"] == "prod"
    assert told[f"{prefix}newest_good_point_timestamp_seconds", "new"][0][0]["repository"] == "offsite"
    assert (f"{prefix}rpo_seconds", "new") not in told, "what is not there has no sample"
    alarms = {
        vm: (found[0][0]["state"], found[0][1]) for (name, vm), found in told.items() if name.endswith("alarming")
    }
    assert alarms == {"old": ("too-old", 1), "never": ("no-point", 1), "alone": ("uncovered", 1), "new": ("good", 0)}
    assert told[f"{prefix}unread", ""] == [({}, 1.0)]
    assert told[f"{prefix}timestamp_seconds", ""] == [({}, NOW.timestamp())]
    states = {labels["state"]: value for labels, value in told[f"{prefix}vms", ""]}
    assert states == {
        **dict.fromkeys(("no-copy", "unworkable", "unknown", "excused", "template"), 0),
        **dict.fromkeys(("uncovered", "no-point", "too-old", "good"), 1),
    }


def test_of_a_repository_that_could_not_be_read_nobody_says_that_there_is_no_point(tmp_path: Path) -> None:
    file = tmp_path / "coverage.prom"
    found = judged([item("db", 1)], taken={1: gold()}, repositories_unread={"main": "away"}, unread=("x",))
    of_coverage.write(found, file)
    told = samples(file)
    assert ("sendense_coverage_newest_good_point_timestamp_seconds", "db") not in told
    assert told["sendense_coverage_alarming", "db"][0][1] == 1
    assert told["sendense_coverage_unread", ""] == [({}, 1.0)]


def test_the_metrics_say_when_a_drill_was_last_passed_and_what_the_newest_came_to(tmp_path: Path) -> None:
    items = [item(name, number) for number, name in enumerate(("passed", "failed", "never", "unread", "empty"), 1)]
    points = [
        protection(1, 3, **drilled("passed", 72)),
        protection(2, 3, **drilled("failed", 2, passed=240)),
        protection(3, 3),
        protection(4, 3, drills_unread=("of p1, drilled.json is damaged",)),
    ]
    file = tmp_path / "coverage.prom"
    of_coverage.write(judged(items, *points, taken=dict.fromkeys(range(1, 6), gold())), file)
    told = samples(file)
    moments = {
        vm: found[0][1] for (name, vm), found in told.items() if name.endswith("last_passed_drill_timestamp_seconds")
    }
    assert moments == {
        "passed": (NOW - timedelta(hours=72)).timestamp(),
        "failed": (NOW - timedelta(hours=240)).timestamp(),
        "never": 0,
        "empty": 0,
    }
    verdicts = {
        vm: (found[0][0]["verdict"], found[0][1])
        for (name, vm), found in told.items()
        if name.endswith("last_drill_passed")
    }
    assert verdicts == {"passed": ("passed", 1), "failed": ("failed", 0)}
    labels = told["sendense_coverage_last_drill_passed", "failed"][0][0]
    assert {**labels, "verdict": ""} == {**told["sendense_coverage_rpo_seconds", "failed"][0][0], "verdict": ""}
    for name in ("last_passed_drill_timestamp_seconds", "last_drill_passed"):
        assert f"# HELP sendense_coverage_{name} " in file.read_text()


def test_what_is_unknown_of_all_is_not_there_rather_than_zero() -> None:
    metrics = Metrics("sendense_run")
    metrics.add("held", "What is held.", None, vm="db")
    assert metrics.text() == b""


@pytest.mark.parametrize(
    "name",
    ['a"b\\c', "a\nb} 1\nsendense_x 2", "\ud800", "größe \u202e", "\x1b[2J"],
    ids=["quotes", "lines", "surrogate", "turned", "escape"],
)
def test_a_name_from_elsewhere_is_one_label_of_one_sample(name: str, tmp_path: Path) -> None:
    metrics = Metrics("sendense_run")
    metrics.add("held", "What is held.", 1, vm=name)
    metrics.write(tmp_path / "x.prom")
    ((labels, value),) = [one for found in samples(tmp_path / "x.prom").values() for one in found]
    assert value == 1 and labels["vm"].isprintable()


def test_the_file_is_replaced_whole_and_readable_by_others(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        file = tmp_path / "x.prom"
        file.write_text("old")
        kept = file.open()
        Metrics("sendense_run").write(file)
        assert kept.read() == "old" and file.read_text() == "" and file.stat().st_mode & 0o777 == 0o644
        assert list(tmp_path.iterdir()) == [file]
    finally:
        os.umask(before)


def test_a_file_that_cannot_be_written_is_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(SendenseError, match="No such file or directory"):
        Metrics("x").write(tmp_path / "nosuch" / "x.prom")


def test_without_prometheus_client_it_is_said_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "prometheus_client", None)
    with pytest.raises(SendenseError, match=r"sendense\[metrics\]"):
        Metrics("x").text()
