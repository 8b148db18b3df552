"""What the command line says of itself."""

import json
import os
import pty
import re
import subprocess
import sys

import click
import pytest
from click.shell_completion import ShellComplete

from runner.base.render import shipped
from runner.cli import COMMANDS, cli, main

NARROW = 80


def test_no_sentence_of_the_list_of_commands_is_cut() -> None:
    context = click.Context(cli, info_name="sendense", terminal_width=NARROW - 2)  # click leaves a margin
    assert "..." not in cli.get_help(context).partition("Commands:")[2]


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        pytest.param(["steps"], "create-", {"create-qcow2", "create-target", "create-vm"}, id="steps"),
        pytest.param(["help"], "sec", {"security"}, id="topics of help"),
        pytest.param(["lab", "fault", "--dir", "x"], "slow", {"slow-task"}, id="faults"),
    ],
)
def test_words_that_are_known_here_are_completed(words: list[str], begun: str, offered: set[str]) -> None:
    found = ShellComplete(cli, {}, "sendense", "_SENDENSE_COMPLETE").get_completions(words, begun)
    assert {one.value for one in found} == offered


NO_ANSWER = {
    "ci": "a pipeline",
    "completion": "a script",
    "schema": "is JSON",
    "demo": "a show",
    "lab": "a group",
} | dict.fromkeys(("scheduler", "worker"), "serves until it is stopped")
"""Commands that print no answer, and what they print."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - NO_ANSWER.keys()))
def test_every_command_that_answers_has_json(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert "--json" in {flag for parameter in command.params for flag in parameter.opts}


PAGES = {path.stem: path.read_text() for path in sorted(shipped("templates/help").glob("*.md"))}


def said(capsys: pytest.CaptureFixture[str], *words: str, code: int = 0) -> str:
    with pytest.raises(SystemExit) as ended:
        main(["help", *words])
    found = capsys.readouterr()
    assert ended.value.code == code, found
    return found.out + found.err


def test_the_topics_are_listed_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    rows = [line.split(maxsplit=1) for line in said(capsys).splitlines()[2:]]
    assert rows == [[topic, text.partition("\n")[0].removeprefix("# ")] for topic, text in PAGES.items()]
    assert [one["name"] for one in json.loads(said(capsys, "--json"))["topics"]] == list(PAGES)


def test_a_page_is_printed_as_it_is_where_there_is_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "topologies") == PAGES["topologies"]
    assert json.loads(said(capsys, "topologies", "--json"))["text"] == PAGES["topologies"]


def test_a_page_is_laid_out_on_a_terminal_and_its_links_are_commands() -> None:
    ours, theirs = pty.openpty()
    argv = [sys.executable, "-m", "runner.cli", "help", "job-language"]
    with subprocess.Popen(argv, stdout=theirs, stdin=theirs, env={**os.environ, "TERM": "xterm"}) as shown:
        os.close(theirs)
        pieces = []
        try:
            while piece := os.read(ours, 4096):
                pieces.append(piece)
        except OSError:  # what a terminal says once nobody is behind it any more
            os.close(ours)
        assert shown.wait(60) == 0
    text = b"".join(pieces).decode()
    assert "\x1b[" in text and "## " not in text
    words = " ".join(re.sub(r"\x1b\[[0-9;]*m", "", text).split())
    assert "sources (sendense help sources)" in words and ".md" not in words


def test_a_command_is_a_topic_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert said(capsys, "run").startswith("Usage: sendense run [OPTIONS] JOB")


@pytest.mark.parametrize(
    ("topic", "hint"),
    [
        pytest.param("restores", "; did you mean 'restore'?", id="a page"),
        pytest.param("stats", "; did you mean 'status'?", id="a command"),
        pytest.param("xyz", f"; there are {', '.join(PAGES)}", id="nothing like it"),
    ],
)
def test_an_unknown_topic_is_bad_usage(capsys: pytest.CaptureFixture[str], topic: str, hint: str) -> None:
    assert said(capsys, topic, code=2) == f"sendense: there is no help on '{topic}'{hint}\n"
