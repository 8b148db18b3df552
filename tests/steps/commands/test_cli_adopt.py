"""What `sendense adopt` shows and asks on a terminal."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.repository import identities, marker
from tests.lives import DISK, FIRST, REBUILT, backed_up, discover, web
from tests.vcenter import USER, Lab, Starts, vcenters

pytestmark = pytest.mark.slow

start_vcenter = vcenters


@pytest.fixture
def directory(start_vcenter: Starts, tmp_path: Path) -> Path:
    """Of the VM `web` in a repository, of which there is a point."""
    root = tmp_path / "repository"
    marker.init(LocalHost(), str(root))
    backed_up(root, discover(start_vcenter(web()), root), job="nightly")
    return root / f"web-{FIRST}"


@pytest.fixture
def job(start_vcenter: Starts, directory: Path) -> Iterator[Path]:
    """Of its backup, after its vCenter was rebuilt."""
    yield job_of(start_vcenter(web(), instance_uuid=REBUILT), directory.parent, {"template": "backup"})


def job_of(lab: Lab, root: Path, more: dict[str, object]) -> Path:
    document = {
        "version": 1,
        "name": "nightly",
        "vcenters": {
            "prod": {
                "server": "127.0.0.1",
                "port": lab.simulator.port,
                "username": USER,
                "password": {"file": str(lab.scratch / "password")},
                "tls": {"ca": str(lab.simulator.ca_path)},
            }
        },
        "repositories": {"main": {"host": "local", "path": str(root)}},
        "vars": {"vm": "web", "vcenter": "prod", "repository": "main"},
        **more,
    }
    path = root.with_name("nightly.yaml")
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


def on_a_terminal(answer: str, *words: str | Path) -> tuple[int, str]:
    """Exit code, and all that stood there."""
    ours, its = os.openpty()
    argv = [sys.executable, "-m", "runner.cli", *map(str, words)]
    told = b""
    with subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}) as child:
        os.close(its)
        try:
            while piece := os.read(ours, 65536):
                told += piece
                if b"[y/N]" in piece:
                    os.write(ours, f"{answer}\n".encode())
        except OSError:
            pass  # the end of a terminal that nobody else holds
        os.close(ours)
    return child.returncode, told.decode()


def test_both_are_shown_together_and_a_person_is_asked(job: Path, directory: Path) -> None:
    code, told = on_a_terminal("n", "adopt", job)
    assert code == 2
    assert "nothing was adopted" in told
    assert identities.read(LocalHost(), str(directory)) == ()
    lines = [re.sub(r"\x1b\[\d*m", "", line).split() for line in told.splitlines()]
    at = lines.index(["vCenter's", "uuid", "before", "5e0d3f51-6c1f-4a57-9d3e-2f6b1c0a7e11"])
    assert lines[at + 1] == ["differs", "now", REBUILT]
    assert ["instance", "uuid", "both", FIRST] in lines
    assert ["disk", "2000", "both", DISK] in lines
    code, told = on_a_terminal("y", "adopt", job)
    assert (code, "its next backup is a full" in told) == (0, True)
    (adopted,) = identities.read(LocalHost(), str(directory))
    assert adopted.new.vcenter_uuid == REBUILT
    assert "@" in adopted.who


def test_a_job_that_names_no_vm_is_told_so(
    start_vcenter: Starts, directory: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    job = job_of(start_vcenter(web()), directory.parent, {"steps": [{"id": "cleanup", "uses": "cleanup"}]})
    with pytest.raises(SystemExit) as left:
        main(("adopt", str(job)))
    assert left.value.code == 2
    assert "discovers no VM: name the VM's backup job" in capsys.readouterr().err
