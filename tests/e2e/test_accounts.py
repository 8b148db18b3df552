"""The accounts that `sendense help privileges` recommends are enough, and may do no more than it says."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from runner.hosts.local import LocalHost
from steps.lab.record import STORE
from steps.repository import marker
from tests.e2e.site import Site, disk, inventory, same
from tests.mapped_mount import mapped

INVENTORY = inventory({"name": "vm", "disks": [disk(2000, "2 MiB", 0, 1)]})
KEY_OPTIONS = 'from="127.0.0.1",restrict,port-forwarding'
ACCOUNT, READER = 64990, 64991
"""Users and groups that no account here has."""


@pytest.fixture
def restricted(site: Site) -> Iterator[None]:
    keys = site.directory / STORE / "sshd" / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f"{KEY_OPTIONS} {before}")
    yield
    keys.write_text(before)


@pytest.mark.usefixtures("restricted")
def test_a_key_for_commands_and_forwards_alone_is_enough_for_repository_and_node_host(site: Site) -> None:
    ran = site.run("vm", transport="https", node="store")
    assert ran.exit_code == 0, ran.error
    assert site.images_equal_sources("vm", ran.points()[0], (2000,))


def test_a_key_without_forwards_is_told_apart_from_an_sshd_without_them(site: Site) -> None:
    keys = site.directory / STORE / "sshd" / "authorized_keys"
    before = keys.read_text()
    keys.write_text(f"restrict {before}")
    ran = site.run("vm", transport="https")
    keys.write_text(before)
    assert ran.exit_code == 1 and "`restrict`, add `port-forwarding`" in ran.error


def as_user(number: int, *argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Without any capability."""
    account = ["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups", "--inh-caps=-all"]
    known = {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "LC_ALL": "C.UTF-8", **environment}
    return subprocess.run([*account, *argv], env=known, capture_output=True, text=True, timeout=60, check=False)


@pytest.fixture
def place() -> Iterator[Path]:
    """One that other accounts get to, with a repository of ours in it, and this program."""
    if os.geteuid() != 0:
        pytest.skip("only root is several accounts")
    made = Path(tempfile.mkdtemp(prefix="sendense-accounts-"))
    made.chmod(0o755)
    marker.init(LocalHost(), str(made / "repository"))
    if as_user(READER, "sendense", "--version").returncode:
        pytest.skip("other accounts cannot start this program where it is")
    yield made
    shutil.rmtree(made)


def test_a_reader_restores_from_a_read_only_view_and_changes_nothing(site: Site, place: Path) -> None:
    ran = site.run("vm", transport="https")
    assert ran.exit_code == 0, ran.error
    (point,) = ran.points()
    repository, view, home = place / "repository", place / "view", place / "home"
    shutil.copytree(point.parent, repository / point.parent.name)
    for path in (repository, *repository.rglob("*")):
        os.chown(path, ACCOUNT, ACCOUNT)
    view.mkdir()
    home.mkdir()
    os.chown(home, READER, READER)
    (place / "site.yaml").write_text(
        yaml.safe_dump({"version": 1, "repositories": {"main": {"host": "local", "path": str(view)}}})
    )
    (place / "site.yaml").chmod(0o644)  # commands of other tests in this process have set its umask
    before = content(repository)
    with mapped(repository, view, ACCOUNT, READER):
        listed = as_user(READER, "sendense", "points", str(place / "site.yaml"), HOME=str(home))
        assert point.name in listed.stdout, listed.stderr
        restored = as_user(
            READER,
            "sendense",
            "restore",
            str(place / "site.yaml"),
            "vm",
            "--to",
            str(home / "restored"),
            HOME=str(home),
        )
        assert restored.returncode == 0, restored.stderr
        (image,) = (home / "restored").glob("*2000.*")
        assert same(site.source("vm", 2000), image)
        attacks = ("rm -rf", "touch", "chmod -R 777", f"mv -t {home}")
        assert not any(as_user(READER, "sh", "-c", f"{attack} {view}/*/*").returncode == 0 for attack in attacks)
        assert as_user(READER, "ls", str(repository)).returncode != 0
    assert content(repository) == before


def content(repository: Path) -> dict[Path, bytes | int]:
    return {path: path.read_bytes() if path.is_file() else path.stat().st_mode for path in repository.rglob("*")}
