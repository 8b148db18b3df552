"""Programs in Go against Debian's packages of govmomi: `make interop` runs what is here, `make test` does not collect it."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.interop.vcsim import Vcsim

if not os.environ.get("INTEROP"):
    collect_ignore_glob = ["test_*.py"]

SOURCES = Path(__file__).parent / "go"
OFFLINE = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "GOPROXY": "off", "GOTOOLCHAIN": "local"}
"""Debian's packages of Go libraries lie in a GOPATH; nothing is fetched."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """built("client") is the program of that folder."""
    directory = tmp_path_factory.mktemp("go")

    def build(name: str) -> str:
        program = directory / name
        if not program.exists():
            command = ["go", "build", "-o", str(program), f"./{name}"]
            subprocess.run(command, cwd=SOURCES, env={**os.environ, **OFFLINE}, check=True, timeout=500)
        return str(program)

    return build


@pytest.fixture
def vcsim(built: Callable[[str], str], tmp_path: Path) -> Iterator[Vcsim]:
    with Vcsim.started(built("vcsim"), tmp_path) as vcsim:
        yield vcsim
