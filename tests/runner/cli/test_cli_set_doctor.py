"""sendense doctor of a set: what it selects, and what one of its children depends on."""

from __future__ import annotations

from pathlib import Path

from tests.runner.cli.test_cli_sets import Estate


def test_doctor_looks_at_what_a_set_selects_and_at_one_of_them(tmp_path: Path) -> None:
    code, out, err = Estate(tmp_path).call("doctor", "gold.yaml")
    assert (code, err) == (0, "")
    assert "what it selects: 3 items of gardens.main, of which /apple/id-a is looked at" in out


def test_doctor_says_why_a_set_would_not_run(tmp_path: Path) -> None:
    estate = Estate(tmp_path)
    estate.write(select={"any": [{"name": "no such*"}]})
    code, out, _ = estate.call("doctor", "gold.yaml")
    assert code == 1
    assert "WRONG  what it selects: gold selects no item of gardens.main, and at least 1 are expected" in out
