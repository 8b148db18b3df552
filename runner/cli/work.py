"""Commands that do work: their exit code is the work's, whatever becomes of their output."""

from __future__ import annotations

import click


class Work(click.Command):
    """``@click.command(cls=Work)``; with ``--dry-run`` it answers."""


class WorkGroup(click.Group):
    """All commands of the group are such."""
