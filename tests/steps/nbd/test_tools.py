"""What is said of a program that does not tell its version: it is not there, or it is and something keeps it from answering."""

from pathlib import Path

import pytest

from runner.base.errors import SendenseError
from runner.engine import doctor
from runner.hosts.local import LocalHost
from steps.nbd import tools


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory where every program is but those of qemu and nbdkit."""
    directory = tmp_path / "bin"
    directory.mkdir()
    for program in Path("/usr/bin").iterdir():
        if not program.name.startswith(("qemu-", "nbdkit")):
            (directory / program.name).symlink_to(program)
    monkeypatch.setenv("PATH", str(directory))
    return directory


def script(programs: Path, name: str, text: str) -> None:
    (programs / name).write_text(f"#!/bin/sh\n{text}\n")
    (programs / name).chmod(0o755)


def asked(tool: tools.Tool) -> str:
    with pytest.raises(SendenseError) as refused:
        tools.version_on(LocalHost("hub"), tool)
    return str(refused.value)


def test_a_program_that_is_not_there_is_to_be_installed(programs: Path) -> None:
    assert asked(tools.QEMU_NBD) == (
        "host hub has no qemu-nbd: install qemu-nbd 4.1 or newer there (Debian package qemu-utils)"
    )


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        pytest.param("kill -KILL $$", "exit code 137 (killed by SIGKILL): it said nothing", id="killed"),
        pytest.param(
            "echo 'error while loading shared libraries: libfuse3.so.3' >&2; exit 127",
            "exit code 127: error while loading shared libraries: libfuse3.so.3",
            id="without-its-library",
        ),
        pytest.param("echo 'Cannot fork' >&2; exit 2", "exit code 2: Cannot fork", id="no-process"),
    ],
)
def test_a_program_that_is_there_and_cannot_answer_is_not_to_be_installed(
    programs: Path, text: str, ended: str
) -> None:
    script(programs, "qemu-nbd", text)
    assert asked(tools.QEMU_NBD) == f"qemu-nbd --version … on hub failed with {ended}"
    (seen,) = [one for one in doctor.local(programs) if one.looked_at.startswith("qemu-nbd")]
    assert seen.found == f"qemu-nbd --version … on this machine failed with {ended}"


def test_a_part_that_is_missing_is_to_be_installed_and_one_that_crashes_is_not(programs: Path) -> None:
    missing = "nbdkit: error: cannot open plugin 'curl': nbdkit-curl-plugin.so: No such file or directory"
    script(programs, "nbdkit", f'echo "{missing}" >&2; exit 1')
    assert "has no nbdkit with its curl plugin: install" in asked(tools.NBDKIT_CURL)
    script(programs, "nbdkit", "kill -SEGV $$")
    assert "failed with exit code 139 (killed by SIGSEGV)" in asked(tools.NBDKIT_CURL)
