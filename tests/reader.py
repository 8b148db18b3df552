"""Somebody who reads the README and the help pages top to bottom, and types what they say, in a lab."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from steps.lab.lab import Lab
from steps.lab.record import VCenterAt
from tests.e2e.administrator import administrator
from tests.pages import QUESTION, ROOT, Block, Command, alike, blocks, commands, matches, not_run
from tests.terminal import answered

TIMEOUT = 120
SHELLS = frozenset("<>|&;*$~")
"""What a shell is needed for."""


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
    _points: set[Path] = field(default_factory=set)

    @classmethod
    def beginning(cls, lab: Lab, directory: Path) -> Reader:
        reader = cls(lab, directory)
        record = lab.record
        (directory / "home").mkdir()
        site = {
            "version": 1,
            "hosts": {"store": {key: value for key, value in record.store.to_json_value().items() if value}},
            "vcenters": {"prod": _vcenter(record.vcenter)},
            "repositories": {"main": {"host": "store", "path": str(directory / "repository")}},
            # Behind the simulated vCenter there is no ESXi host from which VDDK could read.
            "vars": {"transport": "https"},
        }
        (directory / "site.yaml").write_text(yaml.safe_dump(site, sort_keys=False))
        (directory / "repository").mkdir()
        (directory / "units").mkdir()
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
        names = {
            "/restore": "restore",
            "/tmp/lab": "lab",
            "/backup/repository": "repository",
            "/etc/systemd/system": "units",
            "/etc/sendense": ".",  # after those below it
        }
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
            self._delete_restored()
            self._delete_points()
        return self.found[page]

    def _delete_restored(self) -> None:
        """VMs that a page has restored: the next one counts those that there were."""
        known = {vm.name for vm in self.lab.record.vms}
        with administrator(self.lab) as one:
            for name in one.names():
                if name not in known:
                    one.delete(one.vm(name))

    def _delete_points(self) -> None:
        """Those that a page has made: which page comes after which is not said, and each counts those of the first."""
        there = set(self.directory.glob("repository/*/2*"))
        self._points = self._points or there
        for path in there - self._points:
            shutil.rmtree(path)

    def _validate(self, samples: list[Block]) -> Iterator[str]:
        """All of a page at once; those that have mistakes are for a command of the page."""
        jobs = []
        for block in samples:
            name, _, remark = (block.remark or f"sample-{block.line}").partition(" ")
            (self.directory / name).write_text(self._completed(self._here(block.text), f"site-{block.line}"))
            if remark != "invalid":
                jobs.append(name)
        if jobs:
            code, printed = self._typed(f"sendense validate {shlex.join(jobs)}")
            if code:
                yield f"a sample is no job:\n{printed}"

    def _completed(self, text: str, site: str) -> str:
        """A job that has in it what the sample shows; `site`: the file for a sample that is what jobs include."""
        keys = set(re.findall(r"^([a-z]+):", text, re.MULTILINE))
        if keys & {"hosts", "repositories"} and not keys & {"steps", "template"}:
            own = "" if "include" in keys else "include: site.yaml\n"  # where what it does not show stands
            (self.directory / site).write_text(text + own)
            repository = re.findall(r"^repositories:\n +(\w+):", text, re.MULTILINE)[0]
            keys, text = {"include"}, f"include: {site}\n"
            text += f"vars: {{vm: pgtest1, vcenter: prod, repository: {repository}}}\n"
        usual = {"version": "1", **({} if "steps" in keys else {"include": "site.yaml", "template": "backup"})}
        return text + "".join(f"{key}: {value}\n" for key, value in usual.items() if key not in keys)

    def _try(self, block: Block) -> Iterator[str]:
        self._where = self._newest_point() if "in=point" in block.remark else self.directory
        for command in commands(block):
            if not not_run(command.line):
                yield from self._run(command)

    def _newest_point(self) -> Path:
        manifests = self.directory.glob("repository/pgtest1-*/*/manifest.json")
        return max(manifests, key=lambda path: path.stat().st_mtime).parent

    def _run(self, command: Command) -> Iterator[str]:
        line = self._here(command.line)
        expected = command.expected or ""
        question = QUESTION.search(expected)
        if question:
            code, printed = answered(
                ["sh", "-c", line], f"{question[1]}\n".encode(), cwd=self._where, env=self.environment
            )
        elif expected.endswith("^C\n"):
            expected = expected.removesuffix("^C\n")
            code, printed = self._interrupted(line, expected)
        else:
            code, printed = self._typed(line)
        printed = self._as_in_the_pages(printed)
        if code != command.exit_code:
            yield f"`{line}` ended with exit code {code}, not {command.exit_code}:\n{printed}"
        elif command.expected is not None and not matches(expected, printed):
            yield f"`{line}` printed\n\n{printed}\nalike:\n\n{alike(printed)}\n\nnot\n\n{alike(expected)}\n"

    def _here(self, text: str) -> str:
        for name, here in self._places.items():
            text = re.sub(rf"(?<![\w.]){re.escape(name)}(?!\w)", here, text)
        return text

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
            late = threading.Timer(TIMEOUT, process.kill)
            late.start()
            printed = b""
            while not matches(expected, self._as_in_the_pages(printed.decode(errors="replace"))):
                if not (piece := os.read(process.stdout.fileno(), 4096)):
                    break
                printed += piece
            process.send_signal(signal.SIGINT)
            printed += process.stdout.read()
            late.cancel()
            return process.wait(TIMEOUT), printed.decode()

    def _as_in_the_pages(self, printed: str) -> str:
        for name, here in self._places.items():
            printed = printed.replace(here, name)
        return printed


def _vcenter(at: VCenterAt) -> dict[str, object]:
    login = {"username": at.username, "password": {"file": at.password_file}}
    return {"server": at.server, "port": at.port, **login, "tls": {"ca": at.ca}}
