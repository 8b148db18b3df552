"""Assembly for machines without an operating system, made by Debian's gcc and binutils."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path


def assembled(source: Path, *, start: int = 0, **defined: str) -> bytes:
    """The code alone, as it lies in memory from `start` on."""
    with tempfile.TemporaryDirectory() as scratch:
        made, raw = f"{scratch}/made.o", Path(scratch, "raw")
        definitions = [f"-D{name}={value}" for name, value in defined.items()]
        _run(["gcc", "-m32", "-nostdinc", "-c", *definitions, "-o", made, str(source)])
        _run(["ld", "-m", "elf_i386", "-Ttext", hex(start), "--oformat", "binary", "-o", str(raw), made])
        return raw.read_bytes()


def _run(argv: list[str]) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{argv[0]}: {done.stderr}")
