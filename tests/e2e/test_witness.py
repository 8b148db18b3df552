"""What a run makes is witnessed in a file, and what was done to it is in the repository's log."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from runner.cli import main
from tests.e2e.site import Site, disk, inventory
from tests.trails import acts

INVENTORY = inventory(*({"name": name, "disks": [disk(2000, "1 MiB", 0, 1)]} for name in ("vm", "second")))


def call(*argv: str | Path) -> int:
    with pytest.raises(SystemExit) as leaving:
        main([str(word) for word in argv])
    return int(leaving.value.code or 0)


def test_each_point_of_a_run_is_witnessed_once_and_what_is_done_to_it_is_logged(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "kept" / "witness.jsonl"
    assert call("run", "-q", "--witness", file, "--json", site.job("vm")) == 0
    (run,) = json.loads(capsys.readouterr().out)["runs"]
    assert [json.loads(line) for line in file.read_text().splitlines()] == run["witness"]
    # As children in processes of their own, whose points their controller witnesses.
    assert call("run", "-q", "--parallel", "2", "--witness", file, site.job("vm"), site.job("second")) == 0
    witnessed = [json.loads(line) for line in file.read_text().splitlines()]
    assert sorted(one["point"] for one in witnessed) == sorted(point.name for point in site.points())
    assert [one["log"]["seq"] for one in sorted(witnessed, key=lambda one: one["log"]["seq"])] == [1, 2, 3]
    job, name = site.directory / "site.yaml", site.points()[0].name
    capsys.readouterr()
    assert call("restore", job, name, "--to", tmp_path / "restored") == 0
    assert call("verify", job, name, "--witness", file) == 0
    assert "3 points as witnessed" in capsys.readouterr().out
    assert acts(site.repository)[3:] == [("restore", name), ("verify", name)]


def test_nothing_runs_where_its_witness_cannot_be_written(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    before = site.points()
    assert call("run", "--witness", "/proc/witness", site.job("vm")) == 2
    assert "no job was run: give --witness a file you can write to" in capsys.readouterr().err
    assert site.points() == before
