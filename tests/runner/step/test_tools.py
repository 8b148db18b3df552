"""What is said of a program that does not tell its version: it is not there, or it is and something keeps it from answering."""

from pathlib import Path

import pytest

from runner.base.errors import SendenseError
from runner.base.model import Model
from runner.engine import doctor
from runner.hosts.local import LocalHost
from runner.step.context import Context
from runner.step.registry import Registry
from runner.step.section import Section
from runner.step.step import Empty, Lifetime, Step
from runner.step.tools import Binding, Program

LATHE = Program("lathe", ("lathe", "--version"), r"^lathe (\d+\.\d+\S*)", (4, 1), "lathe-utils", "things made here")
BIT = Program(
    "lathe", ("lathe", "--bit"), r"^version=(\d+\.\d+\S*)", (1, 30), "lathe-bits", "things bored here", part="steel bit"
)


def no_oil() -> str:
    raise SendenseError("there is no oil for this Python")


OIL = Binding("oil", no_oil)


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    return directory


def script(programs: Path, text: str) -> None:
    (programs / "lathe").write_text(f"#!/bin/sh\n{text}\n")
    (programs / "lathe").chmod(0o755)


def asked(tool: Program) -> str:
    with pytest.raises(SendenseError) as refused:
        tool.version_on(LocalHost("hub"))
    return str(refused.value)


def test_a_program_that_is_not_there_is_to_be_installed(programs: Path) -> None:
    assert asked(LATHE) == "host hub has no lathe: install lathe 4.1 or newer there (Debian package lathe-utils)"
    assert LATHE.here().sentence == "lathe is not installed; install lathe-utils if it is needed here"


@pytest.mark.parametrize("version", ["4.0.99", "3.2"])
def test_a_program_that_is_too_old_is_named_with_its_version(programs: Path, version: str) -> None:
    script(programs, f"echo lathe {version}")
    assert f"has lathe {version}, which is too old: install lathe 4.1 or newer" in asked(LATHE)
    assert LATHE.here().found == f"lathe {version} is too old"


@pytest.mark.parametrize("version", ["4.1", "4.10.0-rc1", "10.0"])
def test_a_program_that_is_new_enough_tells_its_version(programs: Path, version: str) -> None:
    script(programs, f"echo lathe {version}")
    assert LATHE.version_on(LocalHost("hub")) == version
    assert (LATHE.here().state, LATHE.here().found) == ("good", f"lathe {version}")


@pytest.mark.parametrize(
    ("text", "ended"),
    [
        pytest.param("kill -KILL $$", "exit code 137 (killed by SIGKILL): it printed nothing", id="killed"),
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
    script(programs, text)
    assert asked(LATHE) == f"lathe --version … on hub failed with {ended}"
    assert LATHE.here().sentence == f"lathe --version … on this machine failed with {ended}"


def test_a_part_that_is_missing_is_to_be_installed_and_one_that_crashes_is_not(programs: Path) -> None:
    script(programs, 'echo "lathe: error: cannot open bit: No such file or directory" >&2; exit 1')
    assert "has no lathe with its steel bit: install" in asked(BIT)
    script(programs, "kill -SEGV $$")
    assert "failed with exit code 139 (killed by SIGSEGV)" in asked(BIT)


class Turn(Step[Empty, Empty, Model]):
    """Turns."""

    name, lifetime, In, Out, tools, example = "turn", Lifetime.KEEP, Empty, Model, (LATHE, OIL), ""

    def run(self, ctx: Context, inputs: Empty, live: Empty) -> Model:
        raise NotImplementedError


class Bore(Turn):
    """Bores."""

    name, tools = "bore", (BIT, LATHE)


class Workshop(Section):
    tools = (OIL,)


def test_a_doctor_without_a_job_looks_here_for_what_each_installed_step_and_section_needs(programs: Path) -> None:
    script(programs, '[ "$1" = --bit ] && exit 0; echo lathe 5.0')
    registry = Registry({"turn": Turn(), "bore": Bore()}, {"workshops": Workshop})
    found = doctor.diagnosis(None, doctor.local(programs, registry.tools()))
    told = {one.looked_at: (one.state, one.found) for one in found.observations}
    assert told["lathe, for things made here"] == ("good", "lathe 5.0")
    assert told["lathe with its steel bit, for things bored here"] == (
        "noted",
        "lathe with its steel bit is not installed",
    )
    assert told["oil"] == ("wrong", "there is no oil for this Python")
    assert not found.healthy
