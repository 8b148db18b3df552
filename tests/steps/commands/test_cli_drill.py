"""What `sendense drill` makes of its command line, and of what a job says of its own drills."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.app.options import Options, read_job
from steps.commands import drill
from tests.chain import Chain
from tests.drills import add, needs_qemu, repository, run, site

NONE: dict[str, Any] = dict.fromkeys(
    ("expect", "within", "host", "memory", "cpus", "overlay", "guest_address", "accelerator")
)
OWN = """
hosts: {{lab1: {{ssh: drill@lab1.invalid}}}}
template: {template}
vars: {{repository: main, {vars}}}
"""
POLICY = 'expect: [{serial: "login:"}], within: 90s, host: lab1, limits: {memory: 1GiB, overlay: 2GiB}'
VCENTER = (
    "vcenters: {prod: {server: vc.invalid, username: u, password: {env: NONE}, tls: {thumbprint: " + "AB" * 32 + "}}}\n"
)


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return repository(tmp_path / "repository")


def job(made: Chain, template: str, vars_: str) -> Path:
    return site(made, VCENTER + OWN.format(template=template, vars=vars_))


@pytest.mark.parametrize(
    ("template", "vars_"),
    [
        pytest.param("backup", f"vm: db, vcenter: prod, drill: {{every: 7d, {POLICY}}}", id="a backup that drills"),
        pytest.param("drill", f"point: db, {POLICY}", id="a job that is a drill"),
    ],
)
def test_what_the_job_says_of_its_drills_holds_where_no_option_says_else(
    made: Chain, template: str, vars_: str
) -> None:
    own = read_job(job(made, template, vars_), Options())
    found = drill.settings(own, NONE)
    assert {name: found[name] for name in ("expect", "within", "host", "limits")} == {
        "expect": [{"serial": "login:"}],
        "within": "90s",
        "host": "lab1",
        "limits": {"memory": "1GiB", "overlay": "2GiB"},
    }
    given = {**NONE, "expect": [{"agent": True}], "host": "local", "memory": "512MiB"}
    found = drill.settings(own, given)
    assert (found["expect"], found["host"]) == ([{"agent": True}], "local")
    assert found["limits"] == {"memory": "512MiB", "overlay": "2GiB"}


def test_a_job_of_another_kind_says_nothing_of_drills(made: Chain) -> None:
    own = read_job(job(made, "restore", "point: db, directory: /restore, host: lab1"), Options())
    assert drill.settings(own, NONE) == {}


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        pytest.param(["--expect=login:"], "write serial=TEXT, port=NUMBER:BANNER", id="no kind"),
        pytest.param(["--expect=port=22"], "write serial=TEXT, port=NUMBER:BANNER", id="no banner"),
        pytest.param(["--expect=port=99999:SSH-"], "write serial=TEXT, port=NUMBER:BANNER", id="no port"),
        pytest.param(["--within=soon"], "'soon' is not a duration; write for example 90s", id="no duration"),
        pytest.param(["--memory=much"], "'much' is not a size; write for example 96 MiB", id="no size"),
        pytest.param(["--host=lab"], "has no host 'lab'; did you mean 'lab1'?", id="no host of the job"),
        pytest.param(["--disk=2009"], "has no disk 2009; it has 2000", id="no disk of the point"),
        pytest.param(["--guest-address=10.0.0.1"], "such as 192.0.2.10/24", id="no prefix"),
        pytest.param(["--overlay=1MiB"], "overlay", id="too small an overlay"),
    ],
)
def test_bad_usage_is_a_sentence_and_nothing_is_booted(
    made: Chain, options: list[str], sentence: str, capsys: pytest.CaptureFixture[str]
) -> None:
    point = add(made, b"")
    file = site(made, "hosts: {lab1: {ssh: drill@lab1.invalid}}\n")
    code, out, err = run(capsys, "drill", file, "latest", *options)
    assert (code, out) == (2, "")
    assert sentence in " ".join(err.split())
    assert not (point / "drilled.json").exists()


@needs_qemu
def test_a_dry_run_shows_the_machine_and_starts_nothing(made: Chain, capsys: pytest.CaptureFixture[str]) -> None:
    point = add(made, b"", firmware="bios", hardware={"numCPU": 64, "memoryMB": 64, "device": []})
    words = ("drill", site(made), "latest", "--expect=serial=login:", "--dry-run")
    code, out, err = run(capsys, *words)
    assert code == 0, err
    assert f"pgtest1/{point.name} is booted on local." in out
    assert "number of CPUs" in out and "more are not allowed here" in out
    assert "up to 8.0 GiB needed in" in out
    code, out, _ = run(capsys, *words, "--json")
    told = json.loads(out)
    assert (code, told["machine"]["cpus"], told["machine"]["host"]) == (0, 2, "local")
    assert not (point / "drilled.json").exists()
