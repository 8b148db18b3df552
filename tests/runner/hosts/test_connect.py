"""What connects nowhere does not wait for the libraries that would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from runner.hosts.connect import OpenHosts
from steps.lab.sshd import Sshd

ROOT = Path(__file__).parents[3]
JOB = """\
version: 1
name: nightly
hosts: {hub: {ssh: backup@hub.example.com}}
vcenters: {prod: {server: vcenter.example.com, username: u, password: {env: P}, tls: {ca: ca.pem}}}
repositories: {main: {host: hub, path: /backup}}
template: backup
vars: {vm: web, vcenter: prod, repository: main}
"""
ASK = """
import sys
from runner.cli import main
try:
    main(["plan", "--offline", sys.argv[1]])
finally:
    print(sorted({"fabric", "paramiko"} & set(sys.modules)), file=sys.stderr)
"""


def test_a_plan_that_looks_at_nothing_imports_no_ssh(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(JOB)
    argv = [sys.executable, "-c", ASK, tmp_path / "job.yaml"]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, timeout=60, check=True)
    assert "web" in done.stdout
    assert done.stderr.splitlines()[-1] == "[]"


def test_hosts_of_one_name_are_one_only_if_they_are_the_same_machine(sshd: Sshd) -> None:
    with OpenHosts() as hosts:
        one = hosts.host("hub", sshd.spec, print)
        assert hosts.host("hub", sshd.spec, print) is one
        other = hosts.host("hub", sshd.spec.model_copy(update={"port": 1}), print)
        assert other is not one
        assert one.run(("echo", "hi")).stdout == b"hi\n"
