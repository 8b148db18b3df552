"""The README and the help pages: what their fenced blocks are, and whether a sample is what was printed.

A fenced block says by its language what it is:

    sh          commands; each ends with exit code 0
    console     ``$ command``, and below it what it prints; ``console exit=5`` where it ends with another code
    yaml NAME   a job, or part of one, that is written to the file NAME; ``yaml NAME invalid`` where it has mistakes
    cron, ini   the command of a crontab's line, of a service's ``ExecStart=``
    anything else is not run

``in=point`` says that commands run in the directory of the newest restore point.

What it prints is compared line by line, once times, ids and quantities are made alike on both sides (`alike`); a line
``…`` stands for any number of lines, and a ``…`` in a line for any text. A question is answered by what stands behind it;
``^C`` as the last line is pressed once all above it was printed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
PAGES = sorted((ROOT / "templates" / "help").glob("*.md"))

NOT_RUN = {
    "apt-get": "installs on the reader's machine",
    "/usr/bin/python3": "makes the environment of an installation",
    "/opt/sendense/bin/pip": "installs",
    ". .venv/bin/activate": "changes the reader's shell",
    "make": "its targets have tests of their own, or are the tests",
    "scp": "takes an ESXi host",
    "ssh": "takes an ESXi host",
    "sendense files": "takes a disk with a file system, which the lab's have not: tests/steps/guest makes one",
}
"""How a command begins, and why it is not run."""

_BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\bexit=(\d+)")
QUESTION = re.compile(r"\[y/N\] (\w+)$", re.MULTILINE)
"""In what is expected, with its answer."""
_ALIKE = (
    (re.compile(r"\b\d{8}T\d{6}Z(-[0-9a-f]{4,8})?\b"), "ID"),
    (re.compile(r"\b[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}\b|\b[0-9a-f]{8}…"), "UUID"),
    (re.compile(r"\b\d{4}-\d\d-\d\d\b"), "DAY"),
    (re.compile(r"\b\d\d:\d\d(:\d\d)?\b"), "CLOCK"),
    (re.compile(r"\b\d+(\.\d+)? ?(B|[KMGT]iB|%)(/s)?(?!\w)"), "SIZE"),
    (re.compile(r"\b(\d+ (min|h|d) )?\d+(\.\d+)? ?(s|min|h|d)\b"), "TIME"),
    (re.compile(r"\bprocess \d+"), "process PID"),
    (re.compile(r"\b\d+\.\d+(\.\d+)*[^\s,)]*"), "VERSION"),
    (re.compile(r" +"), " "),
)
"""What differs from run to run. Numbers of disks, points and blocks are compared as they are."""


@dataclass(frozen=True)
class Block:
    kind: str
    remark: str
    text: str
    line: int
    """Where it begins in its page."""


@dataclass(frozen=True)
class Command:
    line: str
    expected: str | None
    """What it prints, None where the page does not say."""
    exit_code: int


def blocks(page: Path) -> list[Block]:
    text = page.read_text()
    return [
        Block(found[1], found[2] or "", found[3], text.count("\n", 0, found.start()) + 1)
        for found in _BLOCK.finditer(text)
    ]


def commands(block: Block) -> Iterator[Command]:
    if block.kind == "sh":
        for line in block.text.replace("\\\n", " ").splitlines():
            if line.strip() and not line.startswith("#"):
                yield Command(line, None, 0)
    elif block.kind == "cron":  # after five fields of time
        for line in block.text.splitlines():
            yield Command(line.split(maxsplit=5)[5], None, 0)
    elif block.kind == "ini":
        for line in re.findall(r"^ExecStart=(.*)$", block.text, re.MULTILINE):
            yield Command(line, None, 0)
    elif block.kind == "console":
        code = _EXIT.search(block.remark)
        for part in re.split(r"^\$ ", block.text, flags=re.MULTILINE)[1:]:
            line, _, expected = part.replace("\\\n", " ").partition("\n")
            yield Command(line, expected, int(code[1]) if code else 0)


def not_run(line: str) -> list[str]:
    """Which of `NOT_RUN` it has in it."""
    parts = [part.strip() for part in re.split(r"&&|\|\|?|;", line)]
    return [begun for begun in NOT_RUN if any(f"{part} ".startswith(f"{begun} ") for part in parts)]


def alike(text: str) -> str:
    for pattern, word in _ALIKE:
        text = pattern.sub(word, text)
    return "\n".join(line.strip() for line in text.strip("\n").splitlines())


def matches(expected: str, printed: str) -> bool:
    pieces = []
    for line in alike(expected).splitlines():
        if line == "…":
            pieces.append(r"(?:[^\n]*\n)*?")
        else:
            pieces.append(re.escape(line).replace("…", r"[^\n]*") + r"\n")
    return re.fullmatch("".join(pieces), alike(printed) + "\n") is not None
