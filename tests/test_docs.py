"""The README and the help pages: each command in them is run, each sample is what the program prints, and all that the
program has is named in them."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
import yaml

from runner.base import errors
from runner.base.render import job_templates
from runner.cli import EPILOG, cli
from runner.cli.help import for_a_terminal
from runner.job.schema import job_schema
from runner.job.template_variables import declared
from runner.step.registry import Registry
from steps.lab.lab import Lab
from steps.vsphere import privileges, restore_privileges
from tests.e2e.site import disk, inventory
from tests.guests.boot_sectors import sector
from tests.pages import NOT_RUN, PAGES, README, ROOT, alike, blocks, commands, matches, not_run
from tests.reader import Reader

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]
"""All of the README is read before the first test: a minute on a quiet machine."""
REGISTRY = Registry.installed()
SCHEMA = job_schema(REGISTRY)
HELP = ROOT / "templates" / "help"
REFERENCE = HELP / "commands.md"
TEXT = {page: page.read_text() for page in (README, *PAGES)}
SPANS = {page: re.findall(r"^```.*?^```$|`[^`\n]+`", text, re.MULTILINE | re.DOTALL) for page, text in TEXT.items()}
"""What stands there as code."""
CODE = "\n".join(span for spans in SPANS.values() for span in spans)
INVENTORY = inventory(
    {
        "name": "pgtest1",
        "folder": "production",
        "tags": ["backup/gold"],
        "disks": [disk(2000, "96 MiB", 0, 1), disk(2001, "4 MiB", 1, 2)],
    }
)
ROOMY = 223
"""Lines that somebody reads who does not know yet whether it is for them."""


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Reader]:
    """The README was read: pages go on from there."""
    directory = tmp_path_factory.mktemp("reader")
    place = tmp_path_factory.mktemp("lab")
    (place / "inventory.yaml").write_text(yaml.safe_dump(INVENTORY))
    lab = Lab.start(place, place / "inventory.yaml", leashed=True)
    lab.write("pgtest1", 2000, 0, iter([sector("prints", "pgtest1 login: ")]))
    reader = Reader.beginning(lab, directory)
    reader.read(README)
    yield reader
    if (directory / "lab" / "lab.json").exists():
        Lab(directory / "lab").stop()
    reader.program.end()
    lab.stop()


@pytest.mark.parametrize("page", [README, *PAGES], ids=lambda page: page.stem)
def test_what_a_page_shows_is_what_happens(reader: Reader, page: Path) -> None:
    wrong = reader.read(page)
    assert not wrong, "\n".join(wrong)


def test_what_is_not_run_is_named_for_a_reason_and_used() -> None:
    lines = [command.line for page in TEXT for block in blocks(page) for command in commands(block)]
    assert {reason for line in lines for reason in not_run(line)} == NOT_RUN.keys()


def test_what_make_is_asked_for_is_a_target() -> None:
    asked = set(re.findall(r"^make ([a-z0-9-]+)", CODE, re.MULTILINE)) | set(re.findall(r"`make ([a-z0-9-]+)", CODE))
    targets = re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE)
    assert {"demo", "test"} <= asked <= set(targets)


def command_lines() -> set[str]:
    """In blocks, which run most of them, and in sentences; what an upgrade replaces is no command any more."""
    spans = [span for page, found in SPANS.items() if page.stem != "upgrading" for span in found]
    inline = {span.strip("`") for span in spans if span.startswith("`sendense ") and "COMMAND" not in span}
    return inline | set(re.findall(r"^(?:\$ )?(sendense .*)", CODE, re.MULTILINE))


@pytest.mark.parametrize("line", sorted(command_lines()))
def test_each_command_line_is_one_that_the_program_takes(line: str) -> None:
    words = shlex.split(re.split(r" [<>|&;]", line)[0], comments=True)[1:]
    command: click.Command = cli
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        found = command.get_command(click.Context(command), words.pop(0))
        assert found is not None
        command = found
    options = {word.partition("=")[0] for word in words if re.match("--?[a-z]", word)}
    assert options <= flags(command) | {"--help", "--version"}


def flags(command: click.Command) -> set[str]:
    """Its options, but the hidden ones: old names, which say the new one."""
    options = (option for option in command.params if isinstance(option, click.Option) and not option.hidden)
    return {flag for option in options for flag in option.opts}


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Each command that can be run, by its words."""
    if isinstance(command, click.Group):
        for name in command.list_commands(click.Context(command)):
            found = command.get_command(click.Context(command), name)
            assert found is not None
            yield from walk(found, (*path, name))
    else:
        yield " ".join(path), command


def reference() -> dict[str, set[str]]:
    """Command → the options that the reference has for it; ``""`` has those of most commands."""
    found: dict[str, set[str]] = {"": set()}
    names = [""]
    for row in re.findall(r"^\|(.*)\|$", TEXT[REFERENCE], re.MULTILINE):
        first, *others = (cell.strip() for cell in re.split(r"(?<!\\)\|", row))
        if len(others) == 1:
            names, options = [""], first
        else:
            options = others[0]
            names = re.findall(r"`((?:[a-z][a-z-]* )*[a-z][a-z-]*)", first) or names
        for name in names:
            found.setdefault(name, set()).update(re.findall(r"`(--?[a-z][a-z-]*)", options))
    return found


COMMANDS = dict(walk(cli))


@pytest.mark.parametrize("name", COMMANDS)
def test_the_reference_names_each_command_and_exactly_its_options(name: str) -> None:
    known, command = reference(), COMMANDS[name]
    assert name in known
    assert known[name] | (flags(command) & known[""]) == flags(command)


def is_named(word: str) -> bool:
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", CODE) is not None


def keys_of_the_language() -> Iterator[str]:
    """Of a job, of a step, and of the entries of sections: what the schema for editors has, but the steps' own inputs."""
    properties = SCHEMA["properties"]
    assert isinstance(properties, dict)
    yield from properties
    yield from properties["steps"]["items"]["properties"]  # type: ignore[index,call-overload]
    for definition in SCHEMA["$defs"].values():  # type: ignore[union-attr]
        yield from definition.get("properties", ())  # type: ignore[union-attr]


@pytest.mark.parametrize("key", sorted(set(keys_of_the_language())))
def test_each_key_of_the_job_language_is_named(key: str) -> None:
    assert is_named(key)


@pytest.mark.parametrize("name", REGISTRY.steps)
def test_each_kind_of_step_is_named_where_jobs_are_explained(name: str) -> None:
    assert f"`{name}`" in TEXT[HELP / "job-language.md"]


@pytest.mark.parametrize(
    "variable", sorted({variable for template in job_templates() for variable in declared(template)})
)
def test_each_variable_of_a_template_is_named(variable: str) -> None:
    assert is_named(variable)


@pytest.mark.parametrize("name", [*privileges.BACKUP, *privileges.FOLDER, *privileges.VDDK])
def test_each_privilege_that_the_account_needs_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT[HELP / "sources.md"]


RESTORE = (
    *restore_privileges.NEW_VM,
    restore_privileges.WRITE_DISKS,
    restore_privileges.IMPORT,
    restore_privileges.POWER_ON,
    restore_privileges.SET_ATTRIBUTE,
    *privileges.EXPORT,
    *privileges.FOLDER,
    *privileges.VDDK,
)


@pytest.mark.parametrize("name", RESTORE)
def test_each_privilege_that_a_restore_into_vcenter_needs_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT[HELP / "restore.md"]


def environment_variables() -> set[str]:
    """Those that the code asks for by name, in whichever way."""
    found = set()
    for path in (path for folder in ("runner", "steps") for path in (ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call | ast.Subscript) and "environ" in ast.unparse(node):
                found |= {
                    part.value
                    for part in ast.walk(node)
                    if isinstance(part, ast.Constant)
                    and isinstance(part.value, str)
                    and re.fullmatch("[A-Z_]+", part.value)
                }
            if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "_INHERITED":
                found |= set(ast.literal_eval(node.value))
    return found


@pytest.mark.parametrize("name", sorted({*environment_variables(), "NO_COLOR", "TERM"}))
def test_each_environment_variable_is_named(name: str) -> None:
    assert f"`{name}`" in TEXT[REFERENCE]


@pytest.mark.parametrize("page", [README, REFERENCE], ids=lambda page: page.stem)
def test_each_exit_code_is_explained(page: Path) -> None:
    kinds = [errors.SendenseError, *errors.SendenseError.__subclasses__()]
    known = {str(kind.exit_code) for kind in kinds} | set(re.findall(r"(\d+) [a-z]", EPILOG))
    assert set(re.findall(r"^\| (\d+) \| \w", TEXT[page], re.MULTILINE)) == known


@pytest.mark.parametrize("page", TEXT, ids=lambda page: page.stem)
def test_links_lead_to_files_of_the_repository(page: Path) -> None:
    for link in re.findall(r"\]\(([^)]+)\)", TEXT[page]):
        assert (page.parent / link).exists(), link


def test_each_page_is_linked_from_the_readme_and_has_a_title() -> None:
    assert {f"({page.relative_to(ROOT)})" for page in PAGES} <= set(re.findall(r"\([^)\s]+\)", TEXT[README]))
    assert all(TEXT[page].startswith("# ") for page in PAGES)


def test_the_readme_is_short_and_says_on_its_first_screen_what_it_has_not_met() -> None:
    lines = TEXT[README].splitlines()
    assert len(lines) <= ROOMY
    assert "has not met a real vCenter yet" in "\n".join(lines[:20])


def test_the_picture_of_a_job_has_the_steps_of_the_standard_backup() -> None:
    (picture,) = [block.text for block in blocks(HELP / "job-language.md") if block.kind == "mermaid"]
    template = (ROOT / "templates" / "backup.yaml.j2").read_text()
    drawn = set(re.findall(r"\b([a-z]+)\b(?=[\[(]| -->|$)", re.sub(r"\[.*?\]|\(.*?\)", "[", picture), re.MULTILINE))
    assert drawn - {"flowchart"} == set(re.findall(r"- id: (\w+)", template)) - {"prune", "drill", "copies"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_a_picture_of_a_page_ships_beside_it_and_a_terminal_names_its_file(page: Path) -> None:
    pictures = [HELP / name for name in re.findall(r"!\[[^\]]+\]\(([^)]+)\)", TEXT[page])]
    assert all(picture.read_bytes().startswith(b"\x89PNG") for picture in pictures)
    shown = for_a_terminal(TEXT[page])
    assert "![" not in shown and all(f"`{picture}`" in shown for picture in pictures)


def test_alike_is_what_differs_from_run_to_run_alone() -> None:
    one = "disk 2000 of 96.0 MiB at 2026-11-30 02:28, 3.7 s, 20261130T022858Z-705f of 3b1409df-a49c-516a-aa5c-c7f2e7a078f0"
    other = "disk 2000 of 1.2 GiB at 2027-01-02 17:00, 125.0 s, 20270102T170000Z-ffff of 00000000-0000-0000-0000-000000000000"
    assert alike(one) == alike(other)
    assert matches("a\n…\nb …\n", "a\nx\ny\nb c\n") and matches("a\n…\nb\n", "a\nb\n")
    assert not matches("disk 2000\n", "disk 2001\n") and not matches("a\n…\n", "b\n")
