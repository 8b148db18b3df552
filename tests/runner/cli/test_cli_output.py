"""What becomes of a command whose output nobody takes."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from runner.app.options import Options
from runner.app.status import status_of
from runner.hosts.local import LocalHost
from steps.repository import marker

pytestmark = pytest.mark.slow

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


def redirected(how: str) -> Callable[[list[str], Path], "subprocess.Popen[bytes]"]:
    def begin(argv: list[str], said: Path) -> "subprocess.Popen[bytes]":
        shell = ["sh", "-c", f'exec "$@" {how}', "sh", *argv]
        with said.open("wb") as file:
            return subprocess.Popen(shell, stdin=subprocess.DEVNULL, stdout=file, stderr=file)

    return begin


def on_a_terminal_that_hangs_up(argv: list[str], said: Path) -> "subprocess.Popen[bytes]":
    ours, its = os.openpty()

    def be_nohup() -> None:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    begun = subprocess.Popen(argv, stdin=its, stdout=its, stderr=its, preexec_fn=be_nohup, start_new_session=True)
    os.close(its)
    os.close(ours)
    return begun


@pytest.mark.parametrize(
    ("begin", "more"),
    [
        pytest.param(redirected(">&-"), (), id="no-stdout"),
        pytest.param(redirected("2>&-"), (), id="no-stderr", marks=pytest.mark.torture),
        pytest.param(redirected("<&- >&- 2>&-"), ("--json",), id="nothing"),
        pytest.param(redirected("2>/dev/full"), ("-v",), id="stderr-full"),
        pytest.param(redirected(">/dev/full"), ("--json",), id="stdout-full"),
        pytest.param(redirected(">/dev/full 2>&1"), ("--json", "-v"), id="both-full", marks=pytest.mark.torture),
        pytest.param(on_a_terminal_that_hangs_up, (), id="hung-up"),
        pytest.param(redirected(""), ("--events", "/dev/full"), id="events-full", marks=pytest.mark.torture),
        pytest.param(redirected(""), ("--report", "REPORT"), id="report-full"),
    ],
)
def test_the_exit_code_of_a_run_is_the_works_whoever_can_be_told_of_it(
    tmp_path: Path, begin: Callable[[list[str], Path], "subprocess.Popen[bytes]"], more: tuple[str, ...]
) -> None:
    repository, job, said = tmp_path / "repository", tmp_path / "job.yaml", tmp_path / "said"
    marker.init(LocalHost(), str(repository))
    job.write_text(JOB.replace("NOWHERE", str(repository)))
    report = tmp_path / "report"
    report.mkdir()
    (report / "report.md").mkdir()  # nothing can take its place
    given = [str(report) if word == "REPORT" else word for word in more]
    with begin(
        [sys.executable, "-m", "runner.cli", "run", str(job), "--state", str(tmp_path), *given], said
    ) as running:
        assert running.wait(timeout=60) == 0
    told = said.read_text() if said.exists() else ""
    assert "Traceback" not in told
    assert [record.phase for record in status_of(job, Options(state=tmp_path)).runs] == ["finished"]
    if "--events" in more:
        assert "the run's events  warning: /dev/full is incomplete, make room there: No space left" in told
    if "--report" in more:
        assert f"sendense: cannot write the report to {report}: Is a directory" in told


@pytest.mark.parametrize("how", [pytest.param(">&-", id="closed"), pytest.param(">/dev/full 2>&-", id="full")])
def test_a_command_that_only_answers_has_failed_where_nobody_can_hear_it(tmp_path: Path, how: str) -> None:
    with redirected(how)(list(COMMAND), tmp_path / "said") as running:
        assert running.wait(timeout=60) == 1
    closed = "sendense: standard output cannot be written: it is closed\n"
    assert (tmp_path / "said").read_text() == (closed if how == ">&-" else "")


def test_bad_usage_is_its_exit_code_though_nobody_can_hear_why(tmp_path: Path) -> None:
    with redirected("2>/dev/full")([sys.executable, "-m", "runner.cli", "bogus"], tmp_path / "said") as running:
        assert running.wait(timeout=60) == 2


def test_what_a_run_makes_is_its_users_alone_whatever_the_umask(tmp_path: Path) -> None:
    job = tmp_path / "job.yaml"
    job.write_text("version: 1\nname: tiny\nsteps: [{id: cleanup, uses: cleanup}]\n")
    state = f"{tmp_path}/state"
    argv = (sys.executable, "-m", "runner.cli", "run", str(job), "--state", state)
    events = ("--events", f"{state}/of/events.jsonl", "--report", f"{state}/report")
    ran = subprocess.run(
        ["sh", "-c", 'umask 000; exec "$@"', "sh", *argv, *events], capture_output=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    made = [Path(state), *Path(state).rglob("*")]
    assert len(made) > 5
    assert [path for path in made if path.stat().st_mode & 0o077] == []
