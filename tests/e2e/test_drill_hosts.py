"""Where a point is drilled: on a third host, which reads it through sockets that are lent to it; and what a doctor says of
hosts that lack something for it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import yaml

from runner.cli import main
from runner.hosts.local import LocalHost
from steps.boot import accelerator
from steps.drill.installed import KVM, OVMF
from steps.efi import ovmf
from steps.lab.sshd import Sshd
from steps.qemu.system import QEMU_SYSTEM
from steps.repository import verification_records
from tests.chain import Chain
from tests.drills import add, login, needs_qemu, repository, site

pytestmark = [needs_qemu, pytest.mark.slow]

FORBIDDEN = {"AllowStreamLocalForwarding": "local"}
"""As the stanza for a repository host has it."""


@pytest.fixture
def made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Chain:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    return repository(tmp_path / "repository")


@pytest.fixture
def third(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Sshd]:
    """Its parameter: lines of its sshd_config."""
    server = Sshd(tmp_path / "third", getattr(request, "param", None))
    server.start()
    yield server
    server.stop()


def hosts(**behind: Sshd) -> str:
    specs = {name: server.spec.to_json_value() for name, server in behind.items()}
    return yaml.safe_dump({"hosts": {name: {k: v for k, v in spec.items() if v} for name, spec in specs.items()}})


def said(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, str]:
    with pytest.raises(SystemExit) as ended:
        main([str(word) for word in words])
    told = capsys.readouterr()
    return int(ended.value.code or 0), told.out + told.err


def job(made: Chain, more: str = "", **settings: Any) -> Path:
    site(made, more)
    values = {"repository": "main", "point": "pgtest1", "accelerator": "tcg", "expect": [{"serial": "login:"}]}
    path = made.root.parent / "drill.yaml"
    document = {"version": 1, "include": "site.yaml", "template": "drill", "vars": values | settings}
    path.write_text(yaml.safe_dump(document))
    return path


def test_a_third_host_boots_a_point_that_it_cannot_read_itself(
    made: Chain, third: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    point = add(made, login())
    more = hosts(third=third)
    code, told = said(
        capsys,
        "drill",
        site(made, more),
        "latest",
        "--host=third",
        "--expect=serial=login:",
        "--within=90s",
        "--accelerator=tcg",
        "--json",
    )
    assert code == 0, told
    record = verification_records.drill(LocalHost(), str(point))
    assert record is not None
    assert (record.verdict, record.host) == ("passed", "third")


@pytest.mark.parametrize("third", [FORBIDDEN], indirect=True, ids=[""])
def test_a_third_host_whose_sshd_lends_nothing_is_told_with_the_lines_to_add(
    made: Chain, third: Sshd, capsys: pytest.CaptureFixture[str]
) -> None:
    add(made, login())
    code, told = said(capsys, "doctor", job(made, hosts(third=third), host="third"))
    assert code == 1
    assert "WRONG  unix sockets there that lead here: the sshd of third makes no unix sockets" in told
    assert "AllowStreamLocalForwarding yes" in told and "PermitListen none" in told
    where = site(made, hosts(third=third))
    code, told = said(capsys, "drill", where, "latest", "--host=third", "--accelerator=tcg", "--json")
    assert code == 1
    assert "the sshd of third makes no unix sockets that lead here" in told


@pytest.fixture
def no_qemu(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = replace(QEMU_SYSTEM, program="qemu-system-none", asks=("qemu-system-none", "--version"))
    for module in ("drill.planning", "drill.needs", "boot.accelerator"):
        monkeypatch.setattr(f"steps.{module}.QEMU_SYSTEM", absent)


def test_a_doctor_says_what_to_install_where_qemu_is_missing(
    made: Chain, no_qemu: None, capsys: pytest.CaptureFixture[str]
) -> None:
    add(made, login())
    code, told = said(capsys, "doctor", job(made))
    assert code == 1
    assert "host local has no qemu-system-none: install" in told and "(Debian package qemu-system-x86)" in told
    assert KVM.here().found == "not tried without qemu-system-none"


def test_a_doctor_says_what_to_install_where_ovmf_is_missing_for_a_vm_with_efi(
    made: Chain, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(ovmf.builds, "__defaults__", ((str(tmp_path / "none"),),))
    add(made, login(), firmware="efi")
    code, told = said(capsys, "doctor", job(made))
    assert code == 1
    assert "host local has no OVMF, which boots machines with EFI: install it there (Debian package ovmf)" in told
    assert OVMF.here().remedy == "install ovmf if it is needed here"


@pytest.mark.parametrize(("wanted", "code", "word"), [("auto", 0, "note"), ("kvm", 1, "WRONG")])
def test_a_doctor_says_why_kvm_is_not_used(
    made: Chain,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    wanted: str,
    code: int,
    word: str,
) -> None:
    monkeypatch.setattr(accelerator, "DEVICE", "/dev/none")
    add(made, login())
    found, told = said(capsys, "doctor", job(made, accelerator=wanted))
    line = "KVM, for restore points that are booted: it has no /dev/none, so drills use TCG"
    assert f"{word}   {line}" in told or f"{word}  {line}" in told
    assert found == code, told
