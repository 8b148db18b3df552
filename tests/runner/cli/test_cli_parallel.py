"""Several jobs at once, each in a process of its own."""

import json
import signal
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from runner.cli import parallel
from runner.cli.job_results import Ended
from tests.eventually import eventually
from tests.runner.cli.test_cli_job import JOB, exit_code

pytestmark = pytest.mark.slow

BAD = "{version: 1, name: bad, steps: [{id: a, uses: nothing}]}"


@pytest.fixture
def jobs(tmp_path: Path) -> list[Path]:
    (tmp_path / "site.yaml").write_text("version: 1\n")
    paths = [tmp_path / f"{name}.yaml" for name in ("one", "two", "three")]
    for path in paths:
        path.write_text(JOB.format(name=f"the-{path.stem}"))
    return paths


def run(state: Path, *words: str | Path) -> int:
    return exit_code("run", "--parallel", "2", "--state", state / "state", *words)


def test_each_line_tells_its_job_and_the_table_comes_last(
    jobs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert run(tmp_path, *jobs) == 0
    above, table = capfd.readouterr().err.split("\n3 of 3 jobs are done")
    lines = [line.split("  ", 1) for line in above.splitlines() if line]
    assert {name.strip() for name, _ in lines} == {"one", "two", "three"}
    assert sum("✓ Done" in line for _, line in lines) == 3
    assert [line.split()[:2] for line in table.splitlines()[2:]] == [
        ["the-one", "done"],
        ["the-two", "done"],
        ["the-three", "done"],
    ]


def test_what_a_program_gets_is_as_of_jobs_one_after_the_other(
    jobs: list[Path], tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text(BAD)
    jobs.insert(1, tmp_path / "bad.yaml")
    documents: list[list[dict[str, Any]]] = []
    for number in ("1", "3"):
        words: tuple[str | Path, ...] = ("--json", "--report", tmp_path / f"reports{number}", *jobs)
        assert run(tmp_path, "--parallel", number, *words) == 4
        documents.append(json.loads(capfd.readouterr().out)["runs"])
        names = {f"{run['job']}-{run['run']}" for run in documents[-1] if "run" in run}
        assert {path.name for path in (tmp_path / f"reports{number}").iterdir()} == names
    for run_ in (one for runs in documents for one in runs if "run" in one):
        assert run_.pop("run") and run_.pop("seconds") >= 0
        assert run_.pop("summary")  # it tells the seconds
    assert documents[0] == documents[1]
    assert [run_["exit_code"] for run_ in documents[1]] == [0, 2, 0, 0]


@pytest.mark.parametrize(
    ("exit_code", "answer", "outcome", "words"),
    [
        pytest.param(137, b"", "not-begun", "was killed by signal 9 and said nothing", id="killed"),
        pytest.param(0, b"nonsense", "not-begun", "ended with exit code 0 and said nothing", id="nonsense"),
        pytest.param(130, b"", "not-begun", "interrupted; run the same command again to resume", id="at-once"),
    ],
)
def test_a_jobs_process_that_says_nothing_of_its_end_is_not_done(
    exit_code: int, answer: bytes, outcome: str, words: str
) -> None:
    ended = parallel.ended_of(Path("one.yaml"), exit_code, answer)
    assert (ended.exit_code, ended.outcome) == (130 if exit_code == 130 else 1, outcome)
    assert words in ended.what


def test_a_job_whose_process_is_stopped_as_it_starts_was_not_reached(
    jobs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its process dies by the signal, since it has no handler yet."""
    code = "import os, pathlib, signal\npathlib.Path(__file__).with_name(f'{os.getpid()}.up').touch()\nsignal.pause()\n"
    (tmp_path / "sitecustomize.py").write_text(code)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    stop = threading.Event()
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(parallel.run_at_once, jobs, 2, ("run",), stop)
        try:
            assert eventually(lambda: len(list(tmp_path.glob("*.up"))) == 2)
        finally:
            stop.set()
        assert ended.result(30) == [Ended(job) for job in jobs]


def test_files_of_one_name_are_told_apart_by_their_paths(tmp_path: Path) -> None:
    paths = [tmp_path / "a" / "vm.yaml", tmp_path / "b" / "vm.yaml", tmp_path / "other.yaml"]
    assert parallel.names_of(paths) == {paths[0]: str(paths[0]), paths[1]: str(paths[1]), paths[2]: "other"}


def test_a_jobs_process_is_asked_to_stop_when_the_one_that_started_it_is_killed() -> None:
    """Also where that one had died before it could be watched."""
    code = """
import os, signal, subprocess, sys
inner = '''
import signal, sys
from runner.cli import parallel
parallel.end_with(int(sys.argv[1]))
print("watching", flush=True)
signal.pause()
'''
child = subprocess.Popen([sys.executable, "-c", inner, str(os.getpid())], stdout=subprocess.PIPE, text=True)
assert child.stdout.readline() == "watching\\n"
print(child.pid, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, timeout=60, check=False)
    assert done.returncode == -signal.SIGKILL
    assert eventually(lambda: not is_running(int(done.stdout)))
    orphan = "from runner.cli import parallel; parallel.end_with(1 << 22)"
    dead = subprocess.run([sys.executable, "-c", orphan], timeout=60, check=False)
    assert dead.returncode == -signal.SIGTERM


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_the_earlier_name_of_nodes_is_told(jobs: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("run", "--jobs", "2", *jobs) == 2
    assert capsys.readouterr().err == "sendense: --jobs was renamed to --nodes\n"
