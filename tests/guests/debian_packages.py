"""Debian's packages, unpacked into a directory instead of installed: from the sources that this machine's apt has, with the
signatures that apt checks. It needs no root."""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path


class NotToBeHad(Exception):
    """apt has no sources here, or cannot reach them."""


def depended_on(package: str, start: str) -> str:
    """What a metapackage stands for: the one that it depends on whose name starts so. Raises NotToBeHad."""
    lines = _run(["apt-cache", "depends", "--important", package]).splitlines()
    found = [name for line in lines if (name := line.partition("Depends: ")[2]).startswith(start)]
    if not found:
        raise NotToBeHad(f"apt knows no package {package} here: run `apt-get update`")
    return found[0]


def unpack(packages: Sequence[str], into: Path) -> None:
    """Raises NotToBeHad."""
    with tempfile.TemporaryDirectory(dir=into.parent) as scratch:
        _run(["apt-get", "download", "-q", "-o", "APT::Sandbox::User=root", *packages], Path(scratch))
        for archive in sorted(Path(scratch).glob("*.deb")):
            _run(["dpkg-deb", "-x", str(archive), str(into)])


def _run(argv: list[str], where: Path | None = None) -> str:
    try:
        done = subprocess.run(argv, cwd=where, capture_output=True, text=True, timeout=300, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise NotToBeHad(f"{argv[0]}: {error}") from None
    if done.returncode != 0:
        raise NotToBeHad(f"{' '.join(argv[:2])}: {done.stderr.strip()}")
    return done.stdout
