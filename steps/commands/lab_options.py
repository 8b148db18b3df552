"""Options that the lab's commands share."""

from __future__ import annotations

from pathlib import Path

import click

directory_option = click.option(
    "--dir",
    "directory",
    required=True,
    metavar="DIR",
    type=click.Path(path_type=Path, file_okay=False),
    help="The lab's directory.",
)
