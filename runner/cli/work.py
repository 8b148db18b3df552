"""Commands with other work than to answer: their exit code is that work's, whoever can be told of it."""

from __future__ import annotations

import click


class Work(click.Command):
    """``@click.command(cls=Work)``; with ``--dry-run`` it answers."""


class WorkGroup(click.Group):
    """All commands of the group are such."""
