"""What becomes of a command whose output nobody takes."""

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = (sys.executable, "-m", "runner.cli", "steps")


@pytest.mark.parametrize("more", [pytest.param((), id="text"), pytest.param(("--json",), id="json")])
def test_a_full_disk_under_standard_output_is_a_sentence(more: tuple[str, ...]) -> None:
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(
            [*COMMAND, *more], stdout=full, stderr=subprocess.PIPE, text=True, timeout=60, check=False
        )
    assert done.returncode == 1
    assert done.stderr == "sendense: standard output cannot be written: No space left on device\n"


def test_a_reader_that_has_gone_is_no_error() -> None:
    with subprocess.Popen([*COMMAND, "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.wait(timeout=60) == 0
        assert running.stderr.read() == ""


JOB = """
version: 1
name: nightly
template: prune
repositories: {main: {host: local, path: NOWHERE}}
vars: {repository: main, retention: {keep-daily: 7}}
"""


@pytest.mark.parametrize("command", ["run", "plan"])
def test_what_failed_is_told_by_the_exit_code_though_the_reader_has_gone(tmp_path: Path, command: str) -> None:
    job = tmp_path / "job.yaml"
    job.write_text(JOB.replace("NOWHERE", str(tmp_path / "nowhere")))
    argv = [sys.executable, "-m", "runner.cli", command, str(job), "--state", str(tmp_path), "--json"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as running:
        assert running.stdout is not None and running.stderr is not None
        running.stdout.close()
        assert running.wait(timeout=60) == 1
        assert "Traceback" not in running.stderr.read()
