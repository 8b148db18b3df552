"""How many logins runs make at the host of a repository, by the log of its sshd."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from runner.base.units import MiB
from runner.events.events import Event, NodeProgress
from steps.lab.sshd import Sshd
from steps.nbd import growing_endpoint
from tests.e2e.site import processes
from tests.estate import Estate, disk, estate, inventory, machine
from tests.eventually import eventually, ssh_processes

AT_MOST = 4
DOZEN = 12


@dataclass
class Remote:
    """An estate whose repository is behind an sshd with the limits that sshd has by default."""

    site: Estate
    sshd: Sshd

    def logins_of(self, job: Path, *listeners: object) -> int:
        before = self.sshd.logins()
        self.site.backup(job, *listeners)  # type: ignore[arg-type]
        return self.sshd.logins() - before


def behind_sshd(site: Estate, sshd: Sshd) -> Remote:
    path = site.directory / "site.yaml"
    document = yaml.safe_load(path.read_text())
    spec = sshd.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True)
    document["hosts"] = {"store": spec}
    document["repositories"]["main"]["host"] = "store"
    path.write_text(yaml.safe_dump(document, sort_keys=False))
    return Remote(site, sshd)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Sshd]:
    made = Sshd(tmp_path / "sshd", {"LogLevel": "VERBOSE", "MaxStartups": "10:30:100"})
    made.start()
    yield made
    made.stop()


def test_a_full_and_an_incremental_of_two_disks_make_few_logins_and_a_plan_no_more(
    tmp_path: Path, server: Sshd
) -> None:
    disks = [disk(2000 + unit, "6 MiB", unit, content={"pattern": unit + 1}) for unit in range(2)]
    with estate(tmp_path, {"prod": inventory(machine(*disks, change_tracking=True))}) as site:
        remote = behind_sshd(site, server)
        job = site.job()
        assert remote.logins_of(job) <= AT_MOST
        assert remote.logins_of(job) <= AT_MOST
        before = server.logins()
        site.plan(job)
        assert server.logins() - before <= 2  # one for commands, one to try whether it forwards
        site.assert_all_equal()


@pytest.mark.parametrize(
    ("words", "most"),
    [
        pytest.param(["points"], 1, id="points"),
        pytest.param(["verify", "latest"], 2, id="verify"),
        pytest.param(["restore", "latest", "--to", "DIRECTORY"], 2, id="restore"),
    ],
)
def test_a_command_logs_in_once_for_commands_and_once_for_forwards(
    tmp_path: Path, server: Sshd, words: list[str], most: int
) -> None:
    """Though it first finds the points, and then runs a job that was made for them."""
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "6 MiB", 0, content={"pattern": 1})))}) as site:
        remote = behind_sshd(site, server)
        site.backup(site.job())
        before = server.logins()
        name, *more = [str(tmp_path / "restored") if word == "DIRECTORY" else word for word in words]
        argv = [
            sys.executable,
            "-m",
            "runner.cli",
            name,
            str(site.job()),
            *more,
            "--state",
            str(site.directory / "state"),
        ]
        done = subprocess.run(argv, capture_output=True, text=True, timeout=120, check=False)
        assert done.returncode == 0, done.stderr
        assert remote.sshd.logins() - before <= most


def test_a_disk_of_which_much_is_moved_gets_more_ssh_processes_then(
    tmp_path: Path, server: Sshd, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growing_endpoint, "SOME", 4 * MiB)
    monkeypatch.setattr(growing_endpoint, "MUCH", 8 * MiB)
    monkeypatch.setattr("steps.copy.engine._PROGRESS_INTERVAL", 0.0)
    monkeypatch.setattr("steps.copy.nbd.NbdChannel.answer_time", lambda *_: 0.1)  # of a long wire: four are wanted
    seen: list[tuple[int, int]] = []
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "96 MiB", content={"pattern": 1})))}) as site:
        remote = behind_sshd(site, server)

        def listener(event: Event) -> None:
            if isinstance(event, NodeProgress) and event.phase == "copy":
                if event.data > 16 * MiB and not any(logged > first for _, logged in seen):
                    assert eventually(lambda: server.logins() > first)
                seen.append((event.data, server.logins()))

        first = 2
        remote.logins_of(site.job(), listener)
        assert {logins for data, logins in seen if data < 8 * MiB} == {first}
        assert max(logins for _, logins in seen) > first
        site.assert_all_equal()
    assert ssh_processes() == set()


CONNECT = """
import os, sys, yaml
from runner.hosts.connect import connect
from runner.hosts.spec import SshSpec
import runner.hosts.ssh.host
spec = SshSpec.from_json_value(yaml.safe_load(sys.argv[1]))
begin, go = os.pipe()
for _ in range(int(sys.argv[2])):
    if os.fork() == 0:
        os.close(go)
        os.read(begin, 1)
        host = connect("store", spec)
        host.run(("true",))
        with host.forward(("/tmp/nobody",)):
            host.close()
        os._exit(0)
os.close(go)
sys.exit(any(os.wait()[1] for _ in range(int(sys.argv[2]))))
"""
"""As many processes as asked for that log in as a run does, at one moment."""


def test_twelve_runs_that_log_in_at_once_are_let_in_without_one_refusal(server: Sshd) -> None:
    spec = yaml.safe_dump(server.spec.model_dump(mode="json", by_alias=True, exclude_defaults=True))
    subprocess.run([sys.executable, "-c", CONNECT, spec, str(DOZEN)], check=True, timeout=120)
    refused = [line for line in server.log().splitlines() if "MaxStartups" in line or "drop connection" in line]
    assert refused == []
    assert server.log().count("Connection from ") == server.logins() == 2 * DOZEN


def test_nothing_is_left_of_the_shared_ssh_once_the_runner_was_killed(tmp_path: Path, server: Sshd) -> None:
    with estate(tmp_path, {"prod": inventory(machine(disk(2000, "256 MiB", content={"pattern": 1})))}) as site:
        behind_sshd(site, server)
        argv = [sys.executable, "-m", "runner.cli", "run", str(site.job()), "--state", str(tmp_path / "state")]
        run = subprocess.Popen(argv)

        def ours() -> list[str]:
            return [line for _, words in processes() if f"Port {server.port}\n" in config(line := " ".join(words))]

        assert eventually(lambda: any(" -M " in line for line in ours()), 60)
        (master,) = [line for line in ours() if " -M " in line]
        directory = Path(master.split()[master.split().index("-F") + 1]).parent
        os.kill(run.pid, signal.SIGKILL)
        run.wait(10)
        assert eventually(lambda: not ours() and not directory.exists())


def config(line: str) -> str:
    words = line.split()
    try:
        return Path(words[words.index("-F") + 1]).read_text() if words[:1] == ["ssh"] else ""
    except (OSError, ValueError):
        return ""
