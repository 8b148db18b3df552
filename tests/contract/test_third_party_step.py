"""A step and a command of a package that is not ours: the ones that `sendense help writing-a-step` shows, installed as its
readers would."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from runner.base.render import shipped
from runner.cli import main

PAGE = (shipped("templates/help") / "writing-a-step.md").read_text()
LINES = 31
"""Of a step that is short enough to be read at a glance."""
COMMAND = """
import click

@click.command()
@click.argument("text")
def notes(text):
    \"\"\"Repeat a note.\"\"\"
    click.echo(f"noted: {text}")
"""


@dataclass(frozen=True)
class Ran:
    returncode: object
    stdout: str
    stderr: str


Sendense = Callable[..., Ran]


def shown(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where pip put the package that the page shows."""
    package, target = tmp_path_factory.mktemp("note"), tmp_path_factory.mktemp("site-packages")
    (step,), (project, command) = shown("python"), shown("toml")
    (package / "note.py").write_text(step)
    (package / "notes_command.py").write_text(COMMAND)
    project = project.replace('include = ["note.py"]', 'include = ["*.py"]')
    (package / "pyproject.toml").write_text(f"{project}\n{command}")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-index", "--no-deps", "--no-build-isolation"]
    done = subprocess.run(
        [*pip, "--target", str(target), str(package)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr
    return target


@pytest.fixture
def sendense(
    installed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Sendense]:
    """In this process, which finds the package as any that is installed."""
    monkeypatch.syspath_prepend(str(installed))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("COLUMNS", "200")

    def run(*words: str) -> Ran:
        with pytest.raises(SystemExit) as ended:
            main(words)
        return Ran(ended.value.code, *capsys.readouterr())

    yield run
    for name in ("note", "notes_command"):
        sys.modules.pop(name, None)


@pytest.fixture
def job(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(
        "version: 1\nname: noted\nsteps:\n"
        f"  - {{id: told, uses: note, with: {{host: local, path: {tmp_path}/note.txt, text: all is well}}}}\n"
    )
    return path


def test_the_step_of_the_page_is_short_enough_to_be_read_at_a_glance() -> None:
    (step,) = shown("python")
    assert len([line for line in step.splitlines() if line]) <= LINES


def test_it_is_listed_and_documented(sendense: Sendense) -> None:
    assert "Writes a text file" in sendense("steps").stdout
    text = sendense("steps", "note").stdout
    for expected in (
        "note (keep)",
        "Absolute path of the file",
        "What the file says",
        "a host of the job",
        "uses: note, with:",
    ):
        assert expected in text


def test_it_is_checked_in_a_job_file(sendense: Sendense, job: Path) -> None:
    assert sendense("validate", str(job)).returncode == 0
    job.write_text(job.read_text().replace("text:", "txt:"))
    refused = sendense("validate", str(job))
    assert refused.returncode == 2
    assert "did you mean 'text'?" in refused.stderr


def test_it_is_planned_run_and_kept(sendense: Sendense, job: Path, tmp_path: Path) -> None:
    plan = json.loads(sendense("plan", str(job), "--json").stdout)
    assert [(node["id"], node["action"]) for node in plan["nodes"]] == [("told", "run")]
    assert [(one["name"], one["text"]) for one in plan["about"]] == [("note", f"{tmp_path}/note.txt")]
    assert not (tmp_path / "note.txt").exists()
    assert json.loads(sendense("plan", str(job), "--offline", "--json").stdout)["about"] == plan["about"]
    ran = sendense("run", str(job))
    assert ran.returncode == 0, ran.stderr
    assert (tmp_path / "note.txt").read_text() == "all is well"
    assert f"{tmp_path}/note.txt is written." in ran.stdout + ran.stderr


def test_it_is_examined_by_the_doctor(sendense: Sendense, job: Path) -> None:
    seen = sendense("doctor", str(job), "--json")
    assert seen.returncode == 0, seen.stderr
    observations = json.loads(seen.stdout)["observations"]
    assert "host local" in {one["subject"] for one in observations}


def test_what_it_made_is_rolled_back_with_its_run(sendense: Sendense, job: Path, tmp_path: Path) -> None:
    job.write_text(
        job.read_text() + f"  - {{id: fails, uses: note, with: {{path: {tmp_path}/none/x, text: x}}, needs: [told]}}\n"
    )
    failed = sendense("run", str(job))
    assert failed.returncode == 1
    assert (tmp_path / "note.txt").exists()
    run = json.loads(sendense("status", str(job), "--json").stdout)["runs"][0]["id"]
    assert sendense("sweep", str(job), "--abandon", run).returncode == 0
    assert not (tmp_path / "note.txt").exists()


def test_a_command_of_another_package_stands_beside_ours(sendense: Sendense) -> None:
    assert "Repeat a note." in sendense("--help").stdout
    assert sendense("notes", "well").stdout == "noted: well\n"
