"""qemu-img: an image rebased onto another, or made one without a backing file (qemu-img(1), "rebase" and
"commit").

All of it on copies: each command line names a file that nobody else has open, and is run as a process of ours
that ends with us, since a rebase may take hours.
"""

from __future__ import annotations

from pydantic import TypeAdapter, ValidationError

from runner.base.model import Model
from runner.base.units import HOUR
from runner.hosts.host import Host
from steps.qemu.img import FORMAT, BadImageError

MAP_TIMEOUT = 1 * HOUR
"""`map` reads every L2 table, and prints a line a run of clusters."""


class _Run(Model):
    """One line of ``qemu-img map --output=json``, as far as it is used."""

    model_config = Model.model_config | {"extra": "ignore"}

    start: int
    length: int
    depth: int


_RUNS = TypeAdapter(list[_Run])


def copy_argv(path: str, copy: str) -> tuple[str, ...]:
    """Shares the blocks with the original where the file system can (btrfs, XFS), else copies them."""
    return ("cp", "--reflink=auto", "--preserve=mode", "--", path, copy)


def rebase_argv(path: str, onto: str) -> tuple[str, ...]:
    """`onto` is a name relative to the image's directory. Never with `-u`, which only writes the name: what
    the images in between hold is read and written into this one."""
    return ("qemu-img", "rebase", "-q", "-f", FORMAT, "-b", onto, "-F", FORMAT, path)


def commit_argv(top: str, base: str) -> tuple[str, ...]:
    """Writes what `top` itself holds into `base`, a copy of the image below it. That `base` is meant is told
    here and not written into `top`; `-d` leaves `top` as it is."""
    options = {"driver": FORMAT, "file.driver": "file", "file.filename": top}
    options |= {f"backing.{name}": value for name, value in (options | {"file.filename": base}).items()}
    written = ",".join(f"{name}={value.replace(',', ',,')}" for name, value in options.items())
    return ("qemu-img", "commit", "-q", "-d", "--image-opts", written)


def own(host: Host, path: str) -> list[tuple[int, int]]:
    """(start, length) in bytes of what the image at `path` holds itself, zeroes too, and does not read from
    below. Raises BadImageError, CommandError."""
    done = host.run(("qemu-img", "map", "--output=json", "-f", FORMAT, path), timeout=MAP_TIMEOUT)
    try:
        runs = _RUNS.validate_json(done.stdout)
    except ValidationError as error:
        raise BadImageError(f"qemu-img answered something unexpected about {path}: {error}") from error
    return [(run.start, run.length) for run in runs if run.depth == 0]
