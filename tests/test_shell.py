"""Shell that runs on hosts stands in `.sh` files: shellcheck reads them in `make lint`, which it cannot do in Python strings."""

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest

from runner.hosts.script import load

ROOT = Path(__file__).parent.parent
MODULES = sorted(path for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.py"))
SCRIPTS = sorted(path.relative_to(ROOT) for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.sh"))
LOADER = ROOT / "runner/hosts/script.py"
STARTERS = {ROOT / "runner/hosts/ssh/command_line.py", ROOT / "runner/hosts/ssh_process.py"}
"""These write the line that a login shell is given: `exec sh -c` and a script in one line."""

SHELL = re.compile(
    r"""
    \$[0-9@\#*?!$]              # a parameter
    | \$\( | \$\{(?!\{)         # a substitution, which is no expression of a job
    | ;\s*(do|then|fi)\b
    | (?m:^set\s-)
    | \bsh\s-c\b | >&[12] | >/dev/null
    | \s&&\s | \s\|\|\s
    """,
    re.VERBOSE,
)


def texts(path: Path) -> Iterator[tuple[int, str]]:
    """Strings that code works with, each with its line; what is filled in shows as a word."""
    tree = ast.parse(path.read_text())
    inside = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in ast.walk(node)} - {
        id(node) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr)
    }
    prose = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if id(node) in prose or id(node) in inside:
            continue
        if isinstance(node, ast.JoinedStr):
            parts = (part.value if isinstance(part, ast.Constant) else "WORD" for part in node.values)
            yield node.lineno, "".join(map(str, parts))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value


def shell_in(path: Path) -> list[str]:
    found = []
    for line, text in texts(path):
        text = text.replace("${{", "").replace("$SSH_ORIGINAL_COMMAND", "")
        if SHELL.search(text):
            found.append(f"{path.name}:{line}: {text}")
    return found


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_string_of_ours_is_a_script(path: Path) -> None:
    assert path in STARTERS or not shell_in(path)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_only_the_loader_starts_a_shell(path: Path) -> None:
    words = [text for _, text in texts(path)]
    shells = [two for two in pairwise(words) if two[0].endswith("sh") and two[1] == "-c"]
    assert path == LOADER or not shells, "write it into a .sh file beside this module, and load that"


@pytest.mark.parametrize(
    "code",
    [
        'run(("sh", "-c", text))',
        "text = 'for path; do rm \"$path\"; done'",
        'text = f"cd {root} && exec find ."',
        'text = "set -C\\nhead -c 4 >\\"$1\\"\\n"',
        'text = "echo lost >&2"',
    ],
)
def test_a_script_in_a_string_would_be_found(code: str, tmp_path: Path) -> None:
    module = tmp_path / "module.py"
    module.write_text(code)
    with pytest.raises(AssertionError):
        test_no_string_of_ours_is_a_script(module)
        test_only_the_loader_starts_a_shell(module)


@pytest.mark.parametrize("path", SCRIPTS, ids=str)
def test_a_script_says_what_it_is_for(path: Path) -> None:
    first, second, *_ = (ROOT / path).read_text().splitlines()
    assert first == "#!/bin/sh"
    assert second.startswith("# ")


def test_every_script_is_loaded_or_sourced() -> None:
    everything = "".join(path.read_text() for path in [*MODULES, *(ROOT / path for path in SCRIPTS)])
    idle = [
        str(path)
        for path in SCRIPTS
        if not re.search(rf'(load|source)\("{re.escape(str(path))}"\)', everything)
        and not re.search(rf"(?m)^\. \S*/{re.escape(path.name)}$", everything)
    ]
    assert not idle


@pytest.mark.parametrize("shell", ["dash", "bash --posix", "busybox ash"])
def test_every_shell_reads_every_script(shell: str) -> None:
    command = shell.split()
    if shutil.which(command[0]) is None:
        pytest.skip(f"{command[0]} is not installed")
    for path in SCRIPTS:
        done = subprocess.run([*command, "-n", "-c", load(str(path)).text], capture_output=True, text=True, timeout=10)
        assert (done.returncode, done.stderr) == (0, ""), path


@pytest.mark.parametrize("path", ["runner/hosts/ssh/scripts/login.sh", "runner/hosts/ssh/scripts/login-merged.sh"])
def test_what_a_login_shell_is_given_has_nothing_that_one_of_them_reads_otherwise(path: str) -> None:
    """csh: `!`, and the end of a line; fish: a backslash. It stands in single quotes."""
    assert not set("'\\!\n") & set(load(path).line)
