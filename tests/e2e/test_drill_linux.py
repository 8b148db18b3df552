"""A Linux that was backed up is drilled, by the command line: with BIOS and with EFI, from a full and from an incremental.
And restored into vCenter, it starts there from its own disks."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from runner.cli import main
from tests.drills import needs_qemu
from tests.e2e.site import Site, inventory
from tests.guests import small_linux
from tests.hub import tree
from tests.marks import marks

pytestmark = [needs_qemu, pytest.mark.slow]

BIOS, EFI = "bios-vm", "efi-vm"
KEPT = {"drilled.json", "drilled.png", "drilled-serial.log"}


def linux_vm(name: str, mac: str, **more: Any) -> dict[str, Any]:
    return {
        "name": name,
        "guest": "debian12_64Guest",
        "memory": "512 MiB",
        "networks": [{"network": "VM Network", "mac": mac}],
        "disks": [{"key": 2000, "controller": 1000, "unit": 0, "size": f"{small_linux.SIZE} B"}],
        **more,
    }


INVENTORY = inventory(linux_vm(BIOS, "00:50:56:9a:10:01"), linux_vm(EFI, "00:50:56:9a:10:02", firmware="efi"))


@pytest.fixture(autouse=True)
def own_state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-of-commands"))


def told(capsys: pytest.CaptureFixture[str], *words: object) -> tuple[int, dict[str, Any]]:
    with pytest.raises(SystemExit) as ended:
        main([*map(str, words), "--accelerator=tcg", "--within=300s", "--json"])
    said = capsys.readouterr()
    assert said.out, said.err
    return int(ended.value.code or 0), json.loads(said.out)


def write(site: Site, vm: str, disk: Path) -> None:
    """As the guest would: what is zero already is left alone."""
    size = 1024 * 1024
    before = site.source(vm, 2000)
    with disk.open("rb") as new, before.open("rb") as old:
        for at in range(0, small_linux.SIZE, size):
            if (content := new.read(size)) != old.read(size):
                site.lab.write(vm, 2000, at, iter([content]))


def backed_up(site: Site, vm: str) -> Path:
    ran = site.run(vm, cbt="enable")
    assert ran.exit_code == 0, ran.error
    return ran.points()[-1]


@pytest.mark.parametrize("vm", [BIOS, EFI])
def test_a_linux_passes_and_its_points_stay_as_they_were(
    site: Site, linux_disk: Path, tmp_path: Path, vm: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write(site, vm, linux_disk)
    points = [backed_up(site, vm)]
    payload = small_linux.PAYLOAD
    if vm == BIOS:  # an incremental: its file is another one, of which the full knows nothing
        payload = payload[::-1]
        write(site, vm, small_linux.give(small_linux.copied(linux_disk, tmp_path / "changed.raw"), payload))
        points.append(backed_up(site, vm))
    before = [tree(point) for point in points]

    expected = (f"--expect=serial={small_linux.hash_of(payload)}", "--expect=port=22:SSH-2.0-small-linux")
    code, found = told(capsys, "drill", site.job(vm), points[-1], *expected)

    assert (code, found["drill"]["verdict"]) == (0, "passed"), found
    after = [tree(point) for point in points]
    assert after == before
    assert tree(marks(points[-1])).keys() == KEPT
    assert found["drill"]["written"] == 0, "it mounts its disk for reading"


def test_a_restored_linux_starts_from_its_own_disks(
    site: Site, linux_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(site, BIOS, linux_disk)
    point = backed_up(site, BIOS)
    with pytest.raises(SystemExit) as ended:
        main(["restore", str(site.job(BIOS)), str(point), "--to-vcenter=lab", "--name=again", "--transport=lease"])
    assert not ended.value.code, capsys.readouterr().err
    expected = f"--expect=serial={small_linux.hash_of(small_linux.PAYLOAD)}"
    code, found = told(capsys, "lab", "boot", "--dir", site.directory, "again", expected)
    assert (code, found["verdict"]) == (0, "passed"), found
