"""A machine that is too small for a run says which limit it met: no bug, and nothing is lost by it."""

from __future__ import annotations

import errno
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from runner.app.options import Options
from runner.app.status import status_of
from runner.base.errors import HostError
from runner.hosts.limits import limit_of
from runner.hosts.local import LocalHost
from steps.repository import marker
from tests.runner.cli.test_cli_output import JOB

pytestmark = pytest.mark.slow

FEW_FILES = "import os\nwhile os.open('/dev/null', os.O_RDONLY) < 58: pass"
SMALL_THREADS = "import sys, threading; threading.stack_size(1 << 46)"
"""No address space has room for such a stack: the kernel refuses the thread, as it does at pids.max."""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    marker.init(LocalHost(), str(tmp_path / "repository"))
    path = tmp_path / "job.yaml"
    path.write_text(JOB.replace("NOWHERE", str(tmp_path / "repository")))
    return path


def run(job: Path, *before: str, code: str = "") -> subprocess.CompletedProcess[str]:
    words = ["run", str(job), f"--state={job.parent}", "-q"]
    program = ["-m", "runner.cli"] if not code else ["-c", f"{code}\nfrom runner.cli import main\nmain()"]
    argv = [*before, sys.executable, *program, *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)


@pytest.mark.parametrize(
    ("before", "code", "named"),
    [
        pytest.param(
            ("prlimit", "--nofile=64"), FEW_FILES, ("64 files open", "RLIMIT_NOFILE", "LimitNOFILE="), id="files"
        ),
        pytest.param((), SMALL_THREADS, ("no new thread can be started here",), id="threads"),
    ],
)
def test_a_limit_that_a_run_meets_is_a_sentence_and_the_run_is_resumed(
    job: Path, before: tuple[str, ...], code: str, named: tuple[str, ...]
) -> None:
    refused = run(job, *before, code=code)
    assert refused.returncode == 1, refused.stderr
    for words in named:
        assert words in refused.stderr
    for words in ("Traceback", "bug"):
        assert words not in refused.stderr
    unfinished = [record.id for record in status_of(job, Options(state=job.parent)).runs]
    done = run(job)
    assert done.returncode == 0, done.stderr
    finished = [record.id for record in status_of(job, Options(state=job.parent)).runs]
    assert not unfinished or finished == unfinished


def test_files_that_may_be_opened_without_asking_anybody_are_taken() -> None:
    code = (
        "import resource; from runner.hosts.limits import raise_soft_limits as r; r(); print(resource.getrlimit(7)[0])"
    )
    assert resource.RLIMIT_NOFILE == 7
    argv = ["prlimit", "--nofile=64:4096", sys.executable, "-c", code]
    assert subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout == "4096\n"


def test_too_little_memory_is_told_with_the_limit_that_makes_it_little() -> None:
    code = """
from runner.hosts.limits import limit_of
try:
    bytearray(1 << 40)
except MemoryError as error:
    print(limit_of(error))
"""
    argv = ["prlimit", f"--as={4 << 30}", sys.executable, "-c", code]
    said = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "there is not enough memory for this process (RLIMIT_AS, `ulimit -v`, is 4.0 GiB" in said


def test_a_limit_behind_an_error_is_found_and_others_are_not_taken_for_one() -> None:
    try:
        try:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))
        except OSError as error:
            raise HostError("the records cannot be written") from error
    except HostError as error:
        assert "RLIMIT_NOFILE" in str(limit_of(error))
    # Reading without waiting fails by the number of a fork that is refused.
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    with pytest.raises(BlockingIOError) as caught:
        os.read(reader, 1)
    os.close(reader)
    os.close(writer)
    assert limit_of(caught.value) is None
    assert limit_of(RuntimeError("something else")) is None


def test_a_process_that_cannot_be_forked_is_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only mock: a root user has no RLIMIT_NPROC, and a container of ours no pids.max."""

    def refuse(*_: object) -> int:
        raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))

    monkeypatch.setattr("subprocess._fork_exec", refuse)
    monkeypatch.setattr("subprocess._USE_POSIX_SPAWN", False)
    with pytest.raises(BlockingIOError) as caught:
        LocalHost().run(("true",))
    assert "no new process can be started here" in str(limit_of(caught.value))
