"""A command imports what it needs, and nothing that only others need."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest

from runner.cli import COMMANDS, cli, main
from runner.hosts.local import LocalHost
from steps.repository import marker

ROOT = Path(__file__).parents[3]

HEAVY = {
    "blake3", "cryptography", "dask", "distributed", "fabric", "guestfs", "jinja2", "markdown_it", "nbd", "networkx",
    "paramiko", "pydantic", "pyVmomi", "rich.console", "yaml",
}  # fmt: skip
"""Each takes 10 to 130 ms of the start of what needs it not."""

JOB = {"pydantic", "yaml"}
PRUNE = {*JOB, "blake3", "nbd", "rich.console"}
"""It may rebuild images, in a job that is shown."""
BACKUP = {*JOB, "jinja2", "blake3", "nbd"}
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

SHOWS_GARBAGE = """
import gc, sys
from runner.cli import main
def show(phase, looked):
    if phase == "start":
        print(sum(len(gc.get_objects(age)) for age in range(looked["generation"] + 1)), file=sys.stderr)
gc.callbacks.append(show)
main(sys.argv[1:])
"""
"""A line each time that Python looks for garbage: in how many objects."""

PLUGIN = {
    "plugin/__init__.py": "",
    "plugin/whole.py": """
import click
@click.command()
def documented():
    \"\"\"Says it in its docstring.\"\"\"
@click.command(help="Says it in an argument.")
def told():
    pass
@click.command(hidden=True)
def hidden():
    \"\"\"Is not listed.\"\"\"
""",
    "plugin/unfinished.py": "def (:",
    "plugin/needy.py": "import nothing_of_that_name",
    "plugin-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: plugin\nVersion: 1\n",
    "plugin-1.dist-info/entry_points.txt": """
[sendense.commands]
x-documented = plugin.whole:documented
x-told = plugin.whole:told
x-hidden = plugin.whole:hidden
x-unfinished = plugin.unfinished:command
x-needy = plugin.needy:command
x-absent = plugin.whole:absent
x-gone = gone.whole:command
[sendense.steps]
x-step = plugin.needy:Step
""",
}
"""A package of somebody else's, with what is wrong with such packages."""

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
        pytest.param(["--help"], set(), 225, id="help"),
        pytest.param(["points", "SITE"], JOB, 430, id="points"),
        pytest.param(["prune", "SITE", "--keep-last=1", "--dry-run"], PRUNE, 585, id="prune"),
        pytest.param(["validate", "jobs/full.yaml"], BACKUP, 610, id="validate"),
        pytest.param(["serve", "--help"], {*JOB, "blake3", "nbd"}, 447, id="serve"),
        pytest.param(["plan", "jobs/full.yaml", "--offline"], BACKUP, 651, id="plan"),
    ],
)
def test_a_command_imports_only_what_it_needs(words: list[str], needed: set[str], most: int, site: Path) -> None:
    argv = [sys.executable, "-c", SHOWS_MODULES, *(str(site) if word == "SITE" else word for word in words)]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    found = set(done.stderr.splitlines()[-1].split())
    assert found & HEAVY == needed
    assert len(found) <= most, f"{len(found)} modules"


@pytest.mark.parametrize(
    "words",
    [
        pytest.param(["validate", "jobs/full.yaml"], id="validate"),
        pytest.param(["plan", "jobs/full.yaml", "--offline"], id="plan"),
    ],
)
def test_modules_are_not_searched_for_garbage(words: list[str]) -> None:
    """Neither while they are imported nor before the process ends: that took a quarter of a validate."""
    argv = [sys.executable, "-c", SHOWS_GARBAGE, *words]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert sum(int(line) for line in done.stderr.splitlines() if line.isdigit()) < 1000


def test_a_process_that_calls_it_and_goes_on_has_its_garbage_searched_all_the_same() -> None:
    before = gc.get_freeze_count()
    with pytest.raises(SystemExit):
        main(["--version"])
    assert gc.get_freeze_count() == before


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


@pytest.fixture
def sendense(tmp_path: Path) -> Callable[..., subprocess.CompletedProcess[str]]:
    """Runs it where PLUGIN is installed."""
    for name, content in PLUGIN.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}

    def sendense(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "runner.cli", *words]
        return subprocess.run(argv, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60, check=False)

    return sendense


def test_commands_of_other_packages_are_listed_as_they_want_though_some_are_broken(
    sendense: Callable[..., subprocess.CompletedProcess[str]],
) -> None:
    done = sendense("--help")
    assert done.returncode == 0, done.stderr
    listed = dict(line.split(maxsplit=1) for line in done.stdout.splitlines() if line.startswith("  x-"))
    broken = dict.fromkeys(("x-unfinished", "x-needy", "x-absent", "x-gone"), "(cannot be loaded)")
    assert listed == {
        "x-documented": "Says it in its docstring.",
        "x-told": "Says it in an argument.",
        **broken,
    }


@pytest.mark.parametrize(
    ("words", "named"),
    [
        pytest.param(["x-unfinished"], "the command x-unfinished", id="a command with an error"),
        pytest.param(["x-needy"], "the command x-needy", id="a command that imports what is not there"),
        pytest.param(["x-gone"], "the command x-gone", id="a command whose module is not there"),
        pytest.param(["steps"], "the step x-step", id="a step"),
    ],
)
def test_a_broken_package_is_told_in_a_sentence(
    sendense: Callable[..., subprocess.CompletedProcess[str]], words: list[str], named: str
) -> None:
    done = sendense(*words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"sendense: {named} of the package plugin cannot be loaded (")
    assert done.stderr.count("\n") == 1
