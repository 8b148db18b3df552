"""What a command says of itself where all are listed."""

from __future__ import annotations

import ast
from importlib.abc import InspectLoader
from importlib.util import find_spec

import click


def summary(module: str, name: str, limit: int) -> str | None:
    """The first sentence of the docstring of the command `name` in `module`, in `limit` characters; None
    where no source tells it. It is read from the source: to import all commands for a list, or for a key that
    completes a word, takes half a second."""
    spec = find_spec(module)
    loader = None if spec is None else spec.loader
    source = loader.get_source(module) if isinstance(loader, InspectLoader) else None
    for node in ast.parse(source or "").body:
        if isinstance(node, ast.FunctionDef) and node.name == name:
            return click.Command(name, help=ast.get_docstring(node)).get_short_help_str(limit)
    return None
