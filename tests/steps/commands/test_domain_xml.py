"""What `sendense drill --print libvirt` prints: a machine whose disks are those that a restore writes."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from xml.etree import ElementTree

import pytest

from steps.repository import layout
from tests.chain import Chain
from tests.drills import add, repository, run, site


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return repository(tmp_path / "repository")


def test_the_printed_restore_writes_the_disks_where_the_machine_expects_them(
    made: Chain, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("steps.commands.domain_xml.IMAGES", str(tmp_path / "images"))
    add(made, b"its first bytes")
    code, document, _ = run(capsys, "drill", site(made), "latest", "--print", "libvirt")
    assert code == 0
    domain = ElementTree.fromstring(document)
    source = domain.find("devices/disk/source")
    assert source is not None
    (restore,) = [line for line in document.splitlines() if "sendense restore" in line]
    words = shlex.split(restore.partition(": ")[2])
    assert run(capsys, *words[1:])[0] == 0
    assert Path(source.get("file", "")).exists()


def test_it_has_the_memory_that_the_vm_had_and_none_of_its_secrets(
    made: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    hardware = {"numCPU": 12, "memoryMB": 16384, "device": []}
    add(made, b"x", hardware=hardware)
    code, out, _ = run(capsys, "drill", site(made), "latest", "--print", "libvirt", "--json")
    assert code == 0
    document = json.loads(out)["libvirt"]
    domain = ElementTree.fromstring(document)
    assert (domain.findtext("memory"), domain.findtext("vcpu")) == (str(16384 * 1024), "12")
    assert "hunter2" not in document


def test_a_point_without_a_configuration_says_what_can_be_done_instead(
    made: Chain, capsys: pytest.CaptureFixture[str]
) -> None:
    point = add(made, b"x")
    (point / layout.VM_FILES / layout.VM_CONFIG).unlink()
    code, out, err = run(capsys, "drill", site(made), "latest", "--print", "libvirt")
    assert (code, out) == (1, "")
    assert "its disks can be restored as files (`--to`)" in err
