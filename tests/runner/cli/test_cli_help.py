"""What the command line says of itself."""

import click
import pytest
from click.shell_completion import ShellComplete

from runner.cli import cli

NARROW = 80


def test_no_sentence_of_the_list_of_commands_is_cut() -> None:
    context = click.Context(cli, info_name="sendense", terminal_width=NARROW - 2)  # click leaves a margin
    assert "..." not in cli.get_help(context).partition("Commands:")[2]


@pytest.mark.parametrize(
    ("words", "begun", "offered"),
    [
        pytest.param(["steps"], "create-", {"create-qcow2", "create-target"}, id="steps"),
        pytest.param(["lab", "fault", "--dir", "x"], "slow", {"slow-task"}, id="faults"),
    ],
)
def test_words_that_are_known_here_are_completed(words: list[str], begun: str, offered: set[str]) -> None:
    found = ShellComplete(cli, {}, "sendense", "_SENDENSE_COMPLETE").get_completions(words, begun)
    assert {one.value for one in found} == offered
