"""How a script on a host is made of its files."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hosts.script import Script, load


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """One that is not ours, as a third party's steps are."""
    folder = tmp_path / "theirs"
    (folder / "room/scripts").mkdir(parents=True)
    (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    sys.modules.pop("theirs", None)


def output(script: Script, *arguments: str) -> str:
    done = subprocess.run(script.argv(*arguments), capture_output=True, text=True, timeout=10, check=True)
    return done.stdout


def test_a_script_runs_with_what_it_sources_and_without_its_comments(package: Path) -> None:
    (package / "greet.sh").write_text('#!/bin/sh\n# Sourced.\n\ngreet() {\n    # To whom.\n    echo "hello $1"\n}\n')
    (package / "room/scripts/say.sh").write_text('#!/bin/sh\n# $1: whom\n. ../../greet.sh\ngreet "$1" # aloud\n')
    script = load("theirs/room/scripts/say.sh")
    assert script.text == 'greet() {\n    echo "hello $1"\n}\ngreet "$1" # aloud\n'
    assert output(script, "it's $(me)") == "hello it's $(me)\n"


def test_a_script_of_whole_commands_is_the_same_in_one_line(package: Path) -> None:
    (package / "lines.sh").write_text('#!/bin/sh\nfor word; do echo "$word"; done\necho end\n')
    script = load("theirs/lines.sh")
    assert "\n" not in script.line
    assert output(Script(script.line), "a b", "c") == output(script, "a b", "c") == "a b\nc\nend\n"


def test_a_script_that_is_not_there_is_told_at_once(package: Path) -> None:
    (package / "say.sh").write_text("#!/bin/sh\n. ./gone.sh\n")
    with pytest.raises(FileNotFoundError, match=r"gone\.sh"):
        load("theirs/say.sh")
