"""What a backup's drills came to, everywhere that somebody looks: three nights of one VM, booted in QEMU each night."""

from __future__ import annotations

import base64
import io
import json
import re
import shutil
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main
from steps.repository import verification_records
from tests.estate import VM, Estate, disk, estate, inventory, machine
from tests.guests.boot_sectors import sector
from tests.marks import marks
from tests.sink import Sink, sink

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(shutil.which("qemu-system-x86_64") is None, reason="boots need qemu-system-x86"),
]


@pytest.fixture
def service(monkeypatch: pytest.MonkeyPatch) -> Iterator[Sink]:
    with sink() as found:
        monkeypatch.setenv("CHAT", found.url)
        yield found


@pytest.fixture
def site(tmp_path: Path, service: Sink) -> Iterator[Estate]:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "1 MiB")))}) as found:
        path = tmp_path / "site.yaml"
        path.write_text(yaml.safe_dump({**yaml.safe_load(path.read_text()), "notify": {"to": [{"env": "CHAT"}]}}))
        yield found


def sendense(*words: object) -> tuple[int, str, str]:
    """Exit code, standard output and standard error, in which lines end where they would on a terminal."""
    with (
        redirect_stdout(io.StringIO()) as out,
        redirect_stderr(io.StringIO()) as err,
        pytest.raises(SystemExit) as left,
    ):
        main([str(word) for word in words])
    return int(left.value.code or 0), out.getvalue(), err.getvalue()


def night(site: Estate, job: Path, report: Path) -> dict[str, Any]:
    """What `run --json` says of a run that is done, whatever its drill came to."""
    code, out, err = sendense("run", job, "--fresh", "--json", "--report", report, "--state", site.directory / "state")
    assert code == 0, err
    (run,) = json.loads(out)["runs"]
    return run  # type: ignore[no-any-return]


def pictures(report: Path) -> list[bytes]:
    found = re.findall(r'<img src="data:image/png;base64,([^"]+)"', (report / "report.html").read_text())
    return [base64.b64decode(one) for one in found]


def test_three_nights_of_a_vm_that_does_not_boot_and_then_does(site: Estate, service: Sink, tmp_path: Path) -> None:
    site.vcenter.write(VM, 2000, 0, bytes(512))
    job = site.job(drill={"expect": [{"serial": "login:"}], "within": "60s", "accelerator": "tcg"})

    first = night(site, job, tmp_path / "first")
    (point,) = site.repository().glob("db-*/*T*Z-????")
    picture = (marks(point) / verification_records.DRILL_PICTURE).read_bytes()
    assert first["outcome"] == "done"
    assert any("does not boot" in warning["text"] for warning in first["warnings"])
    (shown,) = first["pictures"]
    assert "failed" in shown["caption"]
    assert Path(shown["file"]).read_bytes() == picture
    assert pictures(tmp_path / "first") == [picture]
    assert (tmp_path / "first" / "drill.png").read_bytes() == picture
    assert service.titles == ["sendense: nightly: did not pass a drill"]
    assert f"{point.name} does not boot: " in service.notices[0]["message"]
    _, text, _ = sendense("points", job)
    assert "drill FAILED 0 h ago" in " ".join(text.split())
    code, text, _ = sendense("coverage", site.directory / "site.yaml", job, "--all")
    assert (code, "never, FAILED 0 min ago" in " ".join(text.split())) == (0, True)

    night(site, job, tmp_path / "second")
    assert len(service.titles) == 1, "not again every night"

    site.vcenter.write(VM, 2000, 0, sector("prints", "login:"))
    third = night(site, job, tmp_path / "third")
    assert third["warnings"] == []
    assert service.titles[1:] == ["sendense: nightly: passed a drill again"]
    assert pictures(tmp_path / "third") != pictures(tmp_path / "first")
    code, text, _ = sendense("coverage", site.directory / "site.yaml", job, "--json")
    (one,) = json.loads(text)["vms"]
    assert (one["drilled"]["verdict"], one["drill_passed"]) == ("passed", one["drilled"]["at"])
    assert not list(site.directory.rglob("notices.json"))


def test_a_job_that_drills_is_told_of_once_while_its_point_does_not_boot(
    site: Estate, service: Sink, tmp_path: Path
) -> None:
    site.vcenter.write(VM, 2000, 0, bytes(512))
    site.run(site.job())
    job = site.directory / "drill.yaml"
    values = {"repository": "main", "point": VM, "expect": [{"serial": "login:"}], "accelerator": "tcg"}
    job.write_text(
        yaml.safe_dump({"version": 1, "include": "site.yaml", "template": "drill", "name": "weekly", "vars": values})
    )
    words = ("run", job, "--json", "--state", site.directory / "state", "--report")
    for number in range(2):
        code, out, _ = sendense(*words, tmp_path / f"report-{number}")
        (run,) = json.loads(out)["runs"]
        assert (code, run["outcome"]) == (5, "alarm")
        assert len(pictures(tmp_path / f"report-{number}")) == len(run["pictures"]) == 1
    assert service.titles == ["sendense: weekly: failed"]
    assert "does not boot: " in service.notices[0]["message"]

    site.vcenter.write(VM, 2000, 0, sector("prints", "login:"))
    site.run(site.job())
    code, out, err = sendense(*words, tmp_path / "report-passed")
    assert code == 0, err
    assert service.titles[1:] == ["sendense: weekly: recovered"]
