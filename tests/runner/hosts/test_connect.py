"""What connects nowhere does not wait for the libraries that would."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

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
