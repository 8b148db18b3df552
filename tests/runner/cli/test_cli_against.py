"""`sendense plan --against`: what a change of job files changes, offline, in a git repository or beside another directory."""

from __future__ import annotations

import json
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from markdown_it import MarkdownIt

from runner.cli import main

SITE = """version: 1
hosts: {hub: {ssh: backup@hub.example.com}}
vcenters:
  prod: {server: vc.example.com, username: b, password: {env: PW}, tls: {ca: ca.pem}}
repositories: {main: {host: hub, path: /backup/repository}}
"""
JOB = """version: 1
include: ../site.yaml
template: backup
vars:
  vm: db
  vcenter: prod
  repository: main
  retention: {keep-daily: 30}
"""


@dataclass
class Checkout:
    root: Path
    capsys: pytest.CaptureFixture[str]

    def git(self, *arguments: str) -> str:
        identity = ("-c", "user.name=Anna", "-c", "user.email=anna@example.com")
        argv = ("git", "-C", str(self.root), *identity, *arguments)
        return subprocess.run(argv, capture_output=True, text=True, timeout=30, check=True).stdout

    def commit(self) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", "a change")

    def edit(self, old: str, new: str, file: str = "jobs/db.yaml") -> None:
        path = self.root / file
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    def plan(self, *arguments: str, code: int = 0) -> tuple[str, str]:
        self.capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main(["plan", "--offline", *arguments])
        said = self.capsys.readouterr()
        assert ended.value.code == code, said
        return said.out, said.err

    def changed(self, *arguments: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(self.plan("jobs/db.yaml", "--json", *arguments)[0])["against"]
        return found


@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Checkout:
    root = tmp_path / "checkout"
    (root / "jobs").mkdir(parents=True)
    (root / "site.yaml").write_text(SITE)
    (root / "jobs" / "db.yaml").write_text(JOB)
    made = Checkout(root, capsys)
    made.git("init", "--quiet", "--initial-branch", "main")
    made.commit()
    monkeypatch.chdir(root)
    return made


@pytest.mark.parametrize(
    ("line", "name", "before", "after"),
    [
        pytest.param("retention: {keep-last: 1}", "retention", "keep-daily 30", "keep-last 1", id="retention"),
        pytest.param("hold: 1h", "hold", "12 h", "1 h", id="hold"),
        pytest.param("mode: full", "mode", "auto", "full", id="mode"),
        pytest.param("verify: metadata", "verify", "full", "metadata", id="verify"),
        pytest.param("window: 1 GiB", "window", "256.0 MiB", "1.0 GiB", id="window"),
    ],
)
def test_what_a_reviewer_must_see_is_in_the_plan_and_in_the_difference(
    checkout: Checkout, line: str, name: str, before: str, after: str
) -> None:
    old, _ = checkout.plan("jobs/db.yaml")
    key = line.partition(":")[0]
    checkout.edit(
        "  retention: {keep-daily: 30}\n",
        ("" if key == "retention" else "  retention: {keep-daily: 30}\n") + f"  {line}\n",
    )
    new, _ = checkout.plan("jobs/db.yaml", "--against", "main")
    (was,) = [row for row in old.splitlines() if row.startswith(f"{name} ")]
    (now,) = [row for row in new.splitlines() if row.startswith(f"{name} ")]
    assert (before in was, after in now) == (True, True)
    assert any(row.startswith(f"-{name}: ") and before in row for row in new.splitlines())
    assert any(row.startswith(f"+{name}: ") and after in row for row in new.splitlines())
    assert ("! retention changed: restore points" in new) == (name == "retention")


def test_nothing_that_differs_is_said_to_be_nothing(checkout: Checkout) -> None:
    checkout.edit("version: 1\n", "version: 1\n# a comment alone\n")
    assert checkout.changed("--against", "main") == {
        "against": "main", "state": "same", "about": [], "settings": [], "nodes": []
    }  # fmt: skip
    assert "db-backup does the same as in main." in checkout.plan("jobs/db.yaml", "--against", "main")[0]


def test_a_change_of_what_is_included_and_of_nodes_is_shown(checkout: Checkout) -> None:
    checkout.edit("server: vc.example.com", "server: evil.example.com", "site.yaml")
    checkout.edit("  retention: {keep-daily: 30}\n", "")
    found = checkout.changed("--against", "main")
    settings = {one["name"]: (one["before"], one["after"]) for one in found["settings"]}
    assert settings["vcenters.prod.server"] == ("vc.example.com", "evil.example.com")
    assert settings["vars.retention"] == ("{keep-daily: 30}", "{}")
    assert "vcenters.prod.tls" not in settings, "a path relative to its file is the same path"
    assert found["nodes"] == [{"name": "prune", "before": "prune", "after": None, "warning": ""}]


def test_what_git_does_not_know_is_taken_as_it_is_now(checkout: Checkout) -> None:
    (checkout.root / ".gitignore").write_text("site.yaml\n")
    checkout.git("rm", "--quiet", "--cached", "site.yaml")
    checkout.commit()
    checkout.edit("keep-daily: 30", "keep-daily: 7")
    assert [one["name"] for one in checkout.changed("--against", "main")["settings"]] == ["vars.retention"]
    (checkout.root / "jobs" / "web.yaml").write_text((checkout.root / "jobs" / "db.yaml").read_text())
    assert "is new: main does not have it" in checkout.plan("jobs/web.yaml", "--against", "main")[0], (
        "it is in no commit"
    )


def test_a_tag_and_a_commit_are_references_too_and_nothing_is_checked_out(checkout: Checkout) -> None:
    checkout.git("tag", "before")
    checkout.edit("keep-daily: 30", "keep-last: 1")
    (checkout.root / "jobs" / "unsaved.txt").write_text("of no commit")
    before = checkout.git("status", "--porcelain")
    for reference in ("before", "HEAD", checkout.git("rev-parse", "HEAD").strip(), "refs/heads/main"):
        assert checkout.changed("--against", reference)["state"] == "changed"
    assert checkout.git("status", "--porcelain") == before


def test_another_file_and_another_directory_are_compared_with_too(checkout: Checkout, tmp_path: Path) -> None:
    shutil.copytree(checkout.root, tmp_path / "released")
    shutil.copy(checkout.root / "jobs" / "db.yaml", checkout.root / "jobs" / "db.yaml.orig")
    checkout.edit("keep-daily: 30", "keep-daily: 7")
    for other in (str(tmp_path / "released"), "jobs/db.yaml.orig", str(tmp_path / "released" / "jobs" / "db.yaml")):
        found = checkout.changed("--against", other)
        assert [one["name"] for one in found["settings"]] == ["vars.retention"], other


def test_a_new_and_a_deleted_job_are_said_to_be_that(checkout: Checkout) -> None:
    (checkout.root / "jobs" / "db.yaml").rename(checkout.root / "jobs" / "web.yaml")
    gone, _ = checkout.plan("jobs/db.yaml", "--against", "main")
    assert gone.startswith("jobs/db.yaml is deleted: main has it.")
    assert "-retention: keep-daily 30" in gone
    new, _ = checkout.plan("jobs/web.yaml", "--against", "main")
    assert "db-backup is new: main does not have it." in new
    assert "+retention: keep-daily 30" in new
    for shape in ("md", "text"):
        assert "```mermaid" not in checkout.plan("jobs/db.yaml", "--against", "main", "--format", shape)[0]
    assert json.loads(checkout.plan("jobs/db.yaml", "--against", "main", "--json")[0])["against"]["state"] == "deleted"


def test_what_cannot_be_compared_with_is_a_sentence_and_the_plan_is_shown_all_the_same(
    checkout: Checkout, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    shown, said = checkout.plan("jobs/db.yaml", "--against", "mian", code=2)
    assert "+  cleanup" in shown
    assert "knows no such branch, tag or commit" in said
    assert "Traceback" not in said

    checkout.edit("keep-daily: 30", "keep-dayly: 30")
    checkout.commit()
    checkout.edit("keep-dayly: 30", "keep-daily: 30")
    shown, said = checkout.plan("jobs/db.yaml", "--against", "main", code=2)
    assert "+  cleanup" in shown
    assert (
        "there is no comparison with main, where the job file is wrong: jobs/db.yaml:8:15: vars.retention: unknown key 'keep-dayly'"
        in said
    )

    assert "no job jobs/none.yaml" in checkout.plan("jobs/none.yaml", "--against", "main", code=2)[1]

    shutil.rmtree(checkout.root / ".git")
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    shown, said = checkout.plan("jobs/db.yaml", "--against", "main", code=2)
    assert "+  cleanup" in shown
    assert "needs a git repository around jobs/db.yaml" in said

    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "sh").symlink_to("/bin/sh")
    for tool in ("cat", "mkdir", "rm", "kill", "head", "dd", "env", "sleep", "setsid", "timeout"):
        if (found := shutil.which(tool)) is not None:
            (tmp_path / "bin" / tool).symlink_to(found)
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    assert "needs git: install git" in checkout.plan("jobs/db.yaml", "--against", "main", code=2)[1]


def test_a_reference_that_looks_like_an_option_is_a_reference(checkout: Checkout) -> None:
    assert "knows no such branch" in checkout.plan("jobs/db.yaml", "--against=--output=/tmp/x", code=2)[1]


def test_names_are_text_in_the_markdown_of_a_difference(checkout: Checkout) -> None:
    checkout.edit("  vm: db\n", '  vm: "```<script>"\n')
    text, _ = checkout.plan("jobs/db.yaml", "--against", "main", "--format", "md")
    block = text.partition("```diff\n")[2].partition("\n```\n")[0]
    assert "+vars.vm: '```<script>'" in block
    html = MarkdownIt("commonmark", {"html": True}).enable("table").render(text)
    assert "<script>" not in html
    assert html.count("<pre>") == 2, "the difference and the graph"
