"""What reaches a terminal: names, notes and paths come from elsewhere, and none of them rules it."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from runner.hosts.local import LocalHost
from steps.repository import layout, manifest
from tests import points
from tests.hub import Hub, hub_on, vm

pytestmark = pytest.mark.slow

TITLE = "\x1b]0;owned\x07"
LINK = "\x1b]8;;https://example.com\x1b\\"
C1 = "\x9b2J"
BIDI = "\u202e"
EVIL = f"web{TITLE}{LINK}{C1}{BIDI}\rx"
HARM = (TITLE, LINK, C1, BIDI, "\x07", "\x1b]")
JOB = """\
version: 1
name: nightly
repositories: {{main: {{host: local, path: "{root}"}}}}
steps: [{{id: cleanup, uses: cleanup}}]
"""


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    with hub_on(LocalHost("hub"), str(tmp_path / "repository"), tmp_path) as opened:
        yield opened


def on_a_terminal(*words: str | Path) -> str:
    ours, its = os.openpty()
    argv = [sys.executable, "-m", "runner.cli", *map(str, words)]
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=its, stderr=its, env={**os.environ, "TERM": "xterm"}):
        os.close(its)
        told = b""
        try:
            while piece := os.read(ours, 65536):
                told += piece
        except OSError as error:  # the end of a terminal that nobody else holds
            assert error.errno == errno.EIO
        finally:
            os.close(ours)
    return told.decode()


def noted(point: str, note: str) -> None:
    """As if the point came from a program that writes such notes."""
    path = Path(point) / layout.MANIFEST
    written = manifest.parse(path.read_bytes(), str(path))
    path.write_bytes(manifest.dump(written.model_copy(update={"notes": (note,)})))


def test_a_list_of_points_shows_names_and_notes_and_obeys_none(hub: Hub, tmp_path: Path) -> None:
    noted(points.publish(hub, machine=vm(EVIL)).path, EVIL)
    (tmp_path / "job.yaml").write_text(JOB.format(root=hub.root))
    told = on_a_terminal("points", tmp_path / "job.yaml")
    assert [each for each in HARM if each in told] == []
    assert r"web\x1b]0;owned\x07" in told
    assert told.count(r"\x1b]0;owned") >= 2, "the VM's name, and the note"


def test_an_error_about_a_path_obeys_nothing_in_it(tmp_path: Path) -> None:
    told = on_a_terminal("points", tmp_path / f"{EVIL}.yaml")
    assert [each for each in HARM if each in told] == []
    assert r"\x1b]0;owned" in told


def test_json_says_the_very_same_without_any_control_character(hub: Hub, tmp_path: Path) -> None:
    points.publish(hub, machine=vm(f"{EVIL}\U000e0001"))
    (tmp_path / "job.yaml").write_text(JOB.format(root=hub.root))
    told = on_a_terminal("points", tmp_path / "job.yaml", "--json").replace("\r\n", "\n")
    assert told.replace("\n", "").isprintable()
    (repository,) = json.loads(told)["repositories"]
    assert repository["points"][0]["vm"] == f"{EVIL}\U000e0001"
