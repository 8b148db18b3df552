from __future__ import annotations

import getpass
import os
import subprocess
from pathlib import Path

import pytest

from runner.cli import main

LOCKED = "{host: store, path: /backup/repository, lock: 30d}"


def site(directory: Path, *, repositories: str = f"main: {LOCKED}", ssh: str = "backup@store.example.com") -> str:
    path = directory / "site.yaml"
    path.write_text(f"version: 1\nhosts: {{store: {{ssh: {ssh}}}}}\nrepositories: {{{repositories}}}\n")
    return str(path)


def ended(*words: str) -> object:
    """The command's exit code."""
    with pytest.raises(SystemExit) as end:
        main(["lock-timer", *words])
    return end.value.code


def test_it_prints_one_script_for_root(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert ended(site(tmp_path)) == 0
    script = capsys.readouterr().out
    subprocess.run(["shellcheck", "-"], input=script, text=True, check=True, timeout=60)
    assert (
        "ExecStart=/usr/local/sbin/sendense-lock /backup/repository backup 2592000 300 /var/lib/sendense-lock/main"
        in script
    )


def test_it_writes_the_files_where_something_else_installs_them(tmp_path: Path) -> None:
    assert ended(site(tmp_path), "--account", "store", "--out", str(tmp_path / "files")) == 0
    assert {path.name for path in (tmp_path / "files").iterdir()} == {
        "install.sh",
        "sendense-lock",
        "sendense-lock-main.service",
        "sendense-lock-main.timer",
    }
    assert " store 2592000 " in (tmp_path / "files" / "sendense-lock-main.service").read_text()


@pytest.mark.parametrize(
    ("repositories", "ssh", "words", "says"),
    [
        ("main: {host: store, path: /r}", "b@s", (), "add `lock: 30d`"),
        (f"main: {LOCKED}, offsite: {LOCKED}", "b@s", (), "say --repository main"),
        (f"main: {LOCKED}", "b@s", ("--repository", "other"), "no repository 'other'; it has main"),
        (f"main: {LOCKED}", "s", (), "give it by --account"),
    ],
    ids=["no lock", "several", "none of that name", "no account"],
)
def test_what_it_cannot_know_it_asks_for(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], repositories: str, ssh: str, words: tuple[str, ...], says: str
) -> None:
    assert ended(site(tmp_path, repositories=repositories, ssh=ssh), *words) == 2
    assert says in capsys.readouterr().err


def test_a_repository_on_this_machine_is_the_users_own(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = site(tmp_path, repositories=f"main: {LOCKED.replace('store', 'local')}")
    code = ended(path)
    out, err = capsys.readouterr()
    if os.geteuid() == 0:
        assert (code, out) == (2, "")
        assert "cannot be locked against root" in err
    else:
        assert f" {getpass.getuser()} " in out
