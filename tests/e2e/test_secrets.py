"""Where secrets are not: the vCenter's password (from the environment), the session's cookie, and what a guest is given in
its configuration, during runs of every end and after them."""

from __future__ import annotations

import json
import os
import shlex
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from runner.app.options import Options, read_job
from runner.cli import main
from runner.job.writer import write_out
from steps.lab.lab import Lab
from tests.e2e.site import Site, disk, inventory, processes
from tests.eventually import eventually

GUEST_SECRET = "guest-swordfish-71"
INVENTORY = inventory(
    {"name": "vm", "extra-config": {"guestinfo.password": GUEST_SECRET}, "disks": [disk(2000, "96 MiB", 0, 1)]}
)
VARIABLE = "VCENTER_PASSWORD"
ROOT = Path(__file__).parents[2]

BUG = """
import steps.backup.transfer
def copy(*arguments, **more):
    raise RuntimeError("a bug in the copy")
steps.backup.transfer.copy = copy
"""


@dataclass
class Watcher(threading.Thread):
    """Collects what everybody on the machine can be asked for by /proc, and the session's cookie from the file that
    nbdkit reads it from. `argv` is the one command whose environment has the password, since we put it there."""

    argv: list[str]
    port: int
    seen: set[bytes] = field(default_factory=set)
    cookies: dict[Path, bytes] = field(default_factory=dict)
    over: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        super().__init__(daemon=True)

    def __hash__(self) -> int:
        return id(self)

    def run(self) -> None:
        while not self.over.wait(0.01):
            for process in Path("/proc").glob("[0-9]*"):
                try:
                    self.look(process)
                except (FileNotFoundError, ProcessLookupError, PermissionError):
                    continue  # it ended while we looked, or is none of ours

    def look(self, process: Path) -> None:
        # The arguments first: between fork and exec a process has the environment of its parent.
        command = (process / "cmdline").read_bytes()
        self.seen.add(command)
        if command != b"".join(os.fsencode(word) + b"\0" for word in self.argv):
            self.seen.add((process / "environ").read_bytes())
        if f":{self.port}/".encode() in command and b"cookie-script=" in command:
            script = command.partition(b"cookie-script=")[2].partition(b"\0")[0]
            path = Path(shlex.split(os.fsdecode(script))[-1])  # the script ends with `cat FILE`
            if path not in self.cookies:
                self.cookies[path] = path.read_bytes().strip().partition(b"=")[2].strip(b'"')

    def __enter__(self) -> Watcher:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.over.set()
        self.join()


def nothing(run: subprocess.Popen[str], site: Site) -> None:
    return None


def kill_reader(run: subprocess.Popen[str], site: Site) -> None:
    url = f":{site.lab.record.vcenter.port}/"
    for pid in [pid for pid, argv in processes() if argv[0] == "nbdkit" and url in " ".join(argv)]:
        os.kill(pid, signal.SIGKILL)


@dataclass(frozen=True)
class End:
    """`act` is called as soon as the copy begins."""

    name: str
    exit_code: int
    act: Callable[[subprocess.Popen[str], Site], None] = nothing
    prelude: str = ""


ENDS = [
    End("done", 0),
    End("failed", 1, kill_reader),
    End("bug", 1, prelude=BUG),
    End("SIGINT", 130, lambda run, site: run.send_signal(signal.SIGINT)),
    End("SIGKILL", -signal.SIGKILL, lambda run, site: run.kill()),
]


@pytest.fixture
def password(lab: Lab) -> str:
    return Path(lab.record.vcenter.password_file).read_text().strip()


@pytest.fixture
def job(site: Site, password: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The standard backup, with the password in the environment and no second tries."""
    monkeypatch.setenv(VARIABLE, password)
    document = yaml.safe_load(write_out(read_job(site.job("vm"), Options())))
    document["vcenters"]["lab"]["password"] = {"env": VARIABLE}
    for step in document["steps"]:
        step["retries"] = 0
    path = site.directory / "jobs" / "secrets.yaml"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return path


@pytest.mark.parametrize("end", ENDS, ids=lambda end: end.name)
def test_a_run_shows_no_secret_whatever_its_end(
    site: Site, job: Path, password: str, end: End, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    out, temporary = tmp_path / "out", tmp_path / "tmp"
    temporary.mkdir()
    code = f"{end.prelude}\nfrom runner.cli import main; main()"
    options = ["--events", str(out / "events"), "--report", str(out / "report"), "--json", "--verbose"]
    argv = [sys.executable, "-c", code, "run", str(job), "--fresh", *options]
    environment = {**os.environ, "TMPDIR": str(temporary)}
    with Watcher(argv, site.lab.record.vcenter.port) as watcher:
        run = subprocess.Popen(
            argv, env=environment, cwd=ROOT, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE
        )
        events = out / "events"
        begun = '"node-started","node":"transfer[2000]"' if not end.prelude else "a bug in the copy"
        assert eventually(lambda: (events.exists() and begun in events.read_text()) or run.poll() is not None, 60)
        daemons = [pid for pid, argv in processes() if "steps.lab.daemon" in argv and str(site.directory) in argv]
        assert [core_limit(pid) for pid in (run.pid, *daemons)] == ["0 0", "0 0"]
        during = [file for file, _ in contents(site, out, temporary)]
        end.act(run, site)
        said = "".join(run.communicate(timeout=90))
    assert run.returncode == end.exit_code, said
    assert during
    assert ("Traceback" in said) == bool(end.prelude)
    told = end.name != "SIGKILL"
    assert (out / "report" / "report.html").exists() == (out / "report" / "junit.xml").exists() == told
    assert end.name != "bug" or "bug in the copy" in (out / "report" / "report.html").read_text()
    assert eventually(lambda: not [path for path in watcher.cookies if path.parent.exists()])

    for command in (["plan", str(job), "--json"], ["status", str(job), "--json"], ["render", str(job)]):
        with pytest.raises(SystemExit):
            main(command)
        said += "".join(capsys.readouterr())

    cookies = set(watcher.cookies.values())
    assert len(cookies) == 1 and all(len(cookie) > 20 for cookie in cookies)
    everywhere = [password.encode(), *cookies, GUEST_SECRET.encode()]
    assert not [secret for secret in everywhere if secret in said.encode()]
    assert not [text for text in watcher.seen if any(secret in text for secret in everywhere)]
    for file, content in contents(site, out, temporary):
        found = [secret for secret in everywhere if secret in content]
        if found == [GUEST_SECRET.encode()] and file.parent.name == "vm":
            assert stat.S_IMODE(file.stat().st_mode) == 0o600 and stat.S_IMODE(file.parent.stat().st_mode) == 0o700
        else:
            assert not found, file
    if end.exit_code == 0:
        (config,) = site.points()[-1].glob("vm/config.json")
        assert {"_type": "OptionValue", "key": "guestinfo.password", "value": GUEST_SECRET} in json.loads(
            config.read_text()
        )["extraConfig"]


def core_limit(pid: int) -> str:
    """Soft and hard, in bytes."""
    (line,) = [line for line in Path(f"/proc/{pid}/limits").read_text().splitlines() if "core file" in line]
    return " ".join(line.split()[4:6])


def contents(site: Site, *more: Path) -> Iterator[tuple[Path, bytes]]:
    """Every file that a run may have written: not the vCenter's own, not the disks."""
    directories = [site.directory / name for name in ("store", "jobs", "state")]
    for directory in (*directories, *more):
        for path in directory.rglob("*"):
            if path.is_file() and path.suffix != ".qcow2":
                yield path, path.read_bytes()
    for name in ("log", "site.yaml", "lab.json"):
        yield site.directory / name, (site.directory / name).read_bytes()
