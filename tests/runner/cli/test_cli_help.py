"""What the command line says of itself."""

import click
import pytest
from click.shell_completion import ShellComplete

from runner.cli import COMMANDS, cli

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


NO_ANSWER = {"ci": "a pipeline", "completion": "a script", "schema": "is JSON", "demo": "a show", "lab": "a group"}
"""Commands that print no answer, and what they print."""


@pytest.mark.parametrize("name", sorted(COMMANDS.keys() - NO_ANSWER.keys()))
def test_every_command_that_answers_has_json(name: str) -> None:
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert "--json" in {flag for parameter in command.params for flag in parameter.opts}
