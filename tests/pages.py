"""The README and the help pages as a reader goes through them, top to bottom, in a lab of their own.

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

import fcntl
import json
import os
import pty
import re
import shlex
import signal
import struct
import subprocess
import sys
import tempfile
import termios
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from steps.lab.lab import Lab

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

TIMEOUT = 120
COLUMNS = 130
SHELLS = frozenset("<>|&;*$~")
"""What a shell is needed for."""

_BLOCK = re.compile(r"^```(\w+)(?: ([^\n]*))?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_EXIT = re.compile(r"\bexit=(\d+)")
_QUESTION = re.compile(r"\[y/N\]:? *(\w+)$", re.MULTILINE)
_DAY = "20261123"
"""In a command, the day of the lab's points."""

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
    elif block.kind == "cron":
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


class Program:
    """`sendense`, loaded once: a call is a fork of it, which saves the second that each start takes.

    What forks has no threads, as the worker of a test run has.
    """

    def __init__(self) -> None:
        argv = [sys.executable, "-c", _SERVE]
        self._process = subprocess.Popen(argv, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def call(self, argv: list[str], where: Path, environment: Mapping[str, str]) -> tuple[int, str]:
        """The exit code, and what it wrote on both outputs."""
        assert self._process.stdin is not None and self._process.stdout is not None
        with tempfile.NamedTemporaryFile() as written:
            asked = {"argv": argv, "where": str(where), "environment": dict(environment), "output": written.name}
            self._process.stdin.write(json.dumps(asked) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline()), Path(written.name).read_text()

    def end(self) -> None:
        self._process.communicate(timeout=TIMEOUT)


_SERVE = """
import json, os, sys
import click
from runner.cli import cli, main
with click.Context(cli) as context:
    loaded = [cli.get_command(context, name) for name in cli.list_commands(context)]
for line in sys.stdin:
    asked = json.loads(line)
    child = os.fork()
    if not child:
        os.environ.clear()
        os.environ.update(asked["environment"])
        os.chdir(asked["where"])
        output = os.open(asked["output"], os.O_WRONLY)
        for number, file in enumerate((os.open(os.devnull, os.O_RDONLY), output, output)):
            os.dup2(file, number)
        main(asked["argv"])
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), flush=True)
"""


@dataclass
class Reader:
    """Somebody who types what the pages say. The lab is theirs: its vCenter is `prod`, its repository host `store`."""

    lab: Lab
    directory: Path
    """Where the job files are, and where commands run."""
    program: Program = field(default_factory=Program)
    found: dict[Path, list[str]] = field(default_factory=dict)
    """What was wrong in the pages that were read."""
    _where: Path = Path()

    @classmethod
    def beginning(cls, lab: Lab, directory: Path) -> Reader:
        reader = cls(lab, directory)
        record = lab.record
        (directory / "home").mkdir()
        store = record.store
        assert store.identity is not None
        (directory / "site.yaml").write_text(
            "version: 1\n"
            f"hosts: {{store: {{ssh: '{store.ssh}', port: {store.port}, identity: {{file: {store.identity.file}}}, "
            f"host-key: {store.host_key}}}}}\n"
            f"vcenters: {{prod: {{server: {record.vcenter.server}, port: {record.vcenter.port}, username: "
            f"{record.vcenter.username}, password: {{file: {record.vcenter.password_file}}}, tls: {{ca: {record.vcenter.ca}}}}}}}\n"
            f"repositories: {{main: {{host: store, path: {directory / 'repository'}}}}}\n"
            # Behind the simulated vCenter there is no ESXi host from which VDDK could read.
            "vars: {transport: https}\n"
        )
        (directory / "repository").mkdir()
        for words in (("init", "-q", "-b", "main"), ("add", "."), ("commit", "-q", "-m", "site")):
            subprocess.run(["git", *words], cwd=directory, env=reader.environment, check=True, timeout=TIMEOUT)
        return reader

    @property
    def environment(self) -> Mapping[str, str]:
        author = {
            f"GIT_{who}_{what}": "reader@example.com" for who in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")
        }
        return {
            "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
            "HOME": str(self.directory / "home"),
            "TMPDIR": os.environ.get("TMPDIR", "/tmp"),
            "LC_ALL": "C.UTF-8",
            "TERM": "dumb",
            **author,
        }

    @property
    def _places(self) -> dict[str, str]:
        """Path in the pages → here."""
        names = {"/restore": "restore", "/tmp/lab": "lab", "/backup/repository": "repository", "/etc/sendense": "."}
        return {name: str(self.directory / here) for name, here in names.items()}

    def read(self, page: Path) -> list[str]:
        """What is wrong with its samples: a sentence each, none where all is as the page says."""
        if page not in self.found:
            found = blocks(page)
            self._where = self.directory
            self.found[page] = [
                *self._validate([block for block in found if block.kind == "yaml"]),
                *(f"{page.name}:{block.line}: {wrong}" for block in found for wrong in self._try(block)),
            ]
        return self.found[page]

    def _validate(self, samples: list[Block]) -> Iterator[str]:
        """All of a page at once; those that have mistakes are for a command of the page."""
        jobs = []
        for block in samples:
            name, _, remark = (block.remark or f"sample-{block.line}").partition(" ")
            (self.directory / name).write_text(self._completed(self._here(block.text)))
            if remark != "invalid":
                jobs.append(name)
        if jobs:
            code, printed = self._typed(f"sendense validate {shlex.join(jobs)}")
            if code:
                yield f"a sample is no job:\n{printed}"

    def _completed(self, text: str) -> str:
        """A job that has in it what the sample shows."""
        keys = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
        if keys & {"hosts", "repositories"} and not keys & {"steps", "template"}:
            (self.directory / "sample-site").write_text(text)
            repository = re.findall(r"^repositories:\n +(\w+):", text, re.MULTILINE)[0]
            keys, text = {"include"}, "include: sample-site\n"
            text += f"vars: {{vm: pgtest1, vcenter: prod, repository: {repository}}}\n"
        usual = {"version": "1", **({} if "steps" in keys else {"include": "site.yaml", "template": "backup"})}
        return text + "".join(f"{key}: {value}\n" for key, value in usual.items() if key not in keys)

    def _try(self, block: Block) -> Iterator[str]:
        self._where = self._newest_point() if "in=point" in block.remark else self.directory
        for command in commands(block):
            if not not_run(command.line):
                yield from self._run(command)

    def _newest_point(self) -> Path:
        return max(
            self.directory.glob("repository/pgtest1-*/*/manifest.json"), key=lambda path: path.stat().st_mtime
        ).parent

    def _run(self, command: Command) -> Iterator[str]:
        line = self._here(command.line)
        expected = command.expected or ""
        question = _QUESTION.search(expected)
        if question:
            code, printed = self._on_a_terminal(line, question[1])
        elif expected.endswith("^C\n"):
            expected = expected.removesuffix("^C\n")
            code, printed = self._interrupted(line, expected)
        else:
            code, printed = self._typed(line)
        for name, here in self._places.items():
            printed = printed.replace(here, name)
        if code != command.exit_code:
            yield f"`{line}` ended with exit code {code}, not {command.exit_code}:\n{printed}"
        elif command.expected is not None and not matches(expected, printed):
            yield f"`{line}` printed\n\n{printed}\nalike:\n\n{alike(printed)}\n\nnot\n\n{alike(expected)}\n"

    def _here(self, text: str) -> str:
        for name, here in self._places.items():
            text = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", here, text)
        return text.replace(_DAY, time.strftime("%Y%m%d", time.gmtime()))

    def _typed(self, line: str) -> tuple[int, str]:
        words = shlex.split(line, comments=True)
        if words[0] == "sendense" and not any(set(word) & SHELLS for word in words):
            return self.program.call(words[1:], self._where, self.environment)
        done = subprocess.run(
            ["sh", "-c", line],
            cwd=self._where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=TIMEOUT,
            check=False,
        )
        return done.returncode, done.stdout.decode()

    def _interrupted(self, line: str, expected: str) -> tuple[int, str]:
        """^C once what is expected was printed."""
        with subprocess.Popen(
            ["sh", "-c", f"exec {line}"],
            cwd=self._where,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdout is not None
            printed = b""
            while not matches(expected, self._named(printed)) and (piece := os.read(process.stdout.fileno(), 4096)):
                printed += piece
            process.send_signal(signal.SIGINT)
            printed += process.stdout.read()
            return process.wait(TIMEOUT), printed.decode()

    def _named(self, printed: bytes) -> str:
        text = printed.decode(errors="replace")
        for name, here in self._places.items():
            text = text.replace(here, name)
        return text

    def _on_a_terminal(self, line: str, answer: str) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        child = subprocess.Popen(
            ["sh", "-c", line],
            cwd=self._where,
            env=self.environment,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        shown, answered = b"", False
        while True:
            try:
                piece = os.read(ours, 4096)
            except OSError:  # what a terminal says once nobody is behind it any more
                break
            shown += piece
            if not answered and b"[y/N]" in shown:
                os.write(ours, f"{answer}\n".encode())
                answered = True
        os.close(ours)
        return child.wait(TIMEOUT), shown.decode().replace("\r\n", "\n")
