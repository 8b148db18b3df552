"""A command imports what it needs, and nothing that only others need."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from runner.cli import COMMANDS, cli
from runner.hosts.local import LocalHost
from steps.repository import marker

ROOT = Path(__file__).parents[3]

HEAVY = {
    "blake3", "cryptography", "fabric", "guestfs", "jinja2", "markdown_it", "nbd", "networkx", "paramiko", "pydantic",
    "pyVmomi", "rich.console", "yaml",
}  # fmt: skip
"""Each takes 10 to 130 ms of the start of what needs it not."""

JOB = {"pydantic", "yaml"}
PRUNE = {*JOB, "blake3", "nbd", "rich.console"}
"""It may rebuild images, in a job that is shown."""
BACKUP = {*JOB, "jinja2", "blake3", "cryptography", "nbd", "pyVmomi"}
"""Its template is rendered, and its steps say what they take and give."""

SHOWS_MODULES = """
import sys
from runner.cli import main
try:
    main(sys.argv[1:])
except SystemExit as ending:
    assert not ending.code, ending.code
finally:
    print(*sys.modules, file=sys.stderr)
"""

SITE = """
version: 1
hosts: {{store: {{ssh: backup@store.invalid}}}}
vcenters: {{prod: {{server: vc.invalid, username: u, password: {{env: NONE}}, tls: {{thumbprint: {thumbprint}}}}}}}
repositories: {{main: {{host: local, path: {root}}}}}
"""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("site")
    marker.init(LocalHost(), str(directory / "repository"))
    site = directory / "site.yaml"
    site.write_text(SITE.format(root=directory / "repository", thumbprint="AB" * 32))
    return site


@pytest.mark.parametrize(
    ("words", "needed", "most"),
    [
        pytest.param(["--help"], set(), 230, id="help"),
        pytest.param(["points", "SITE"], JOB, 480, id="points"),
        pytest.param(["prune", "SITE", "--keep-last=1", "--dry-run"], PRUNE, 620, id="prune"),
        pytest.param(["validate", "jobs/full.yaml"], BACKUP, 650, id="validate"),
        pytest.param(["plan", "jobs/full.yaml", "--offline"], BACKUP, 700, id="plan"),
    ],
)
def test_a_command_imports_only_what_it_needs(words: list[str], needed: set[str], most: int, site: Path) -> None:
    argv = [sys.executable, "-c", SHOWS_MODULES, *(str(site) if word == "SITE" else word for word in words)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found = set(done.stderr.splitlines()[-1].split())
    assert found & HEAVY == needed
    assert len(found) <= most, f"{len(found)} modules"


@pytest.mark.parametrize("name", cli.list_commands(click.Context(cli)))
def test_a_list_says_of_a_command_what_the_command_says(name: str) -> None:
    """It is read from the source, not asked of the command."""
    context = click.Context(cli)
    command = cli.get_command(context, name)
    assert command is not None
    listed = {item.value: item.help for item in cli.shell_complete(context, name)}
    assert listed[name] == command.get_short_help_str()
    assert listed[name], f"{name} says nothing"
    assert name not in COMMANDS or command.name == name
