"""A host on which some of a repository cannot be read: `bad_reads.c` lies under the real find, tar and head that it runs."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from runner.hosts.host import Completed, Host

SOURCE = Path(__file__).parent / "bad_reads.c"

BadReads = Callable[..., None]
"""Of a host, what fails from now on: ``open verified.json``, ``read NAME``, ``hide NAME``."""


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("gcc") is None:
        pytest.skip("needs gcc")
    made = tmp_path_factory.mktemp("bad-reads") / "bad_reads.so"
    made.parent.chmod(0o755)
    subprocess.run(["gcc", "-shared", "-fPIC", "-O1", "-o", str(made), str(SOURCE), "-ldl"], check=True, timeout=60)
    return made


@pytest.fixture
def bad_reads(library: Path, monkeypatch: pytest.MonkeyPatch) -> BadReads:
    def spoil(host: Host, *rules: str) -> None:
        real = host.run
        under = ("env", f"LD_PRELOAD={library}", f"BAD_READS=;{';'.join(rules)};")

        def run(argv: Sequence[str], **options: Any) -> Completed:
            return real((*under, *argv) if argv[0] == "sh" else argv, **options)

        monkeypatch.setattr(host, "run", run)

    return spoil
