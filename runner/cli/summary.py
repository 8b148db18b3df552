"""What a command says of itself where all are listed."""

from __future__ import annotations

import ast
from importlib.abc import InspectLoader
from importlib.util import find_spec

import click

_OVERRIDES = {"help", "short_help", "hidden", "deprecated", None}
"""Arguments of click.command that change what a list shows; None stands for ``**more``."""


def summary(module: str, name: str, limit: int) -> str | None:
    """The first sentence of the docstring of the command `name` in `module`, in `limit` characters; None
    where its source does not tell it, or more than that. It is read from the source: to import all commands
    for a list, or for a key that completes a word, takes half a second."""
    try:
        spec = find_spec(module)
        loader = None if spec is None else spec.loader
        source = loader.get_source(module) if isinstance(loader, InspectLoader) else None
        body = ast.parse(source or "").body
    except (ImportError, SyntaxError):  # its import says it
        return None
    for node in body:
        if isinstance(node, ast.FunctionDef) and node.name == name and not _has_more(node):
            return click.Command(name, help=ast.get_docstring(node)).get_short_help_str(limit)
    return None


def _has_more(command: ast.FunctionDef) -> bool:
    """Whether its decorators have a say in what a list shows."""
    calls = [decorator for decorator in command.decorator_list if isinstance(decorator, ast.Call)]
    of_command = [call for call in calls if ast.unparse(call.func).endswith(("command", "group"))]
    return bool({keyword.arg for call in of_command for keyword in call.keywords} & _OVERRIDES)
