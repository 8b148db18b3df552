"""sendense help: the pages of the documentation, which ship with the product as Markdown."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import click

from runner.base.errors import UsageError
from runner.base.render import shipped
from runner.base.suggestion import did_you_mean
from runner.cli.options import json_option, print_json
from runner.console.page import print_page
from runner.console.tables import print_table

_LINK = re.compile(r"\[([^\]]+)\]\(([a-z-]+)\.md(?:#[^)]*)?\)")
"""From one page to another."""
_PICTURE = re.compile(r"!\[([^\]]+)\]\(([a-z-]+\.png)\)")
"""Beside the pages."""
_LINK_ELSEWHERE = re.compile(r"\[([^\]]+)\]\((?:\.\./)+([^)]*)\)")
"""To another file of the repository: of use on a git host alone."""


def _pages() -> dict[str, Path]:
    """Topic → its page."""
    return {path.stem: path for path in sorted(shipped("templates/help").glob("*.md"))}


def _beginning(context: click.Context, argument: click.Parameter, begun: str) -> list[str]:
    return [topic for topic in _pages() if topic.startswith(begun)]


@click.command()
@click.argument("topic", required=False, shell_complete=_beginning)
@json_option
@click.pass_context
def help(  # noqa: A001  what a person types
    context: click.Context, topic: str | None, as_json: bool
) -> None:
    """Show a page of the documentation, or list the pages.

    TOPIC may also be a command, such as `run`: its options are shown.
    """
    pages = _pages()
    if topic is None:
        rows = [(name, _title(path.read_text(encoding="utf-8"))) for name, path in pages.items()]
        if as_json:
            listed = [dict(zip(("name", "title"), row, strict=True)) for row in rows]
            print_json({"schema_version": 1, "topics": listed})
        else:
            print_table("Topics", ("topic", "what it is about"), rows, stream=sys.stdout)
        return
    if topic in pages:
        text = pages[topic].read_text(encoding="utf-8")
        if as_json:
            print_json({"schema_version": 1, "name": topic, "title": _title(text), "text": text})
        else:
            print_page(for_a_terminal(text) if sys.stdout.isatty() else text, sys.stdout)
        return
    root = context.find_root()
    assert isinstance(root.command, click.Group)
    command = root.command.get_command(root, topic)
    if command is None or as_json:
        known = [*pages, *([] if as_json else root.command.list_commands(root))]
        hint = did_you_mean(topic, known) or f"; there are {', '.join(pages)}"
        raise UsageError(f"there is no help on '{topic}'{hint}")
    with click.Context(command, parent=root, info_name=topic) as of_command:
        click.echo(command.get_help(of_command))


def _title(page: str) -> str:
    """The heading that it begins with."""
    return page.partition("\n")[0].lstrip("# ")


def for_a_terminal(page: str) -> str:
    """Links become what a reader there can type or look up."""
    page = _PICTURE.sub(lambda found: f"{found[1]}: `{shipped('templates/help') / found[2]}`", page)
    page = _LINK.sub(r"\1 (`sendense help \2`)", page)
    return _LINK_ELSEWHERE.sub(r"\1 (`\2`)", page)
