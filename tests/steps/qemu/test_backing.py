"""Many images are asked for their backing images in one request, however long their names are together."""

from __future__ import annotations

from pathlib import Path

import pytest

from runner.base.units import KiB, MiB
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from steps.qemu import img
from steps.qemu.backing import backing_files
from steps.qemu.img import BadImageError
from tests.sshd import ssh_host, sshd

__all__ = ["ssh_host", "sshd"]

LONGEST_COMMAND = 128 * KiB
"""Of what a login shell is given as one argument (execve(2), MAX_ARG_STRLEN)."""


def test_more_names_than_a_login_shell_takes_as_a_command(tmp_path: Path, ssh_host: Host) -> None:
    full, child = tmp_path / "full.qcow2", tmp_path / "child.qcow2"
    img.create(LocalHost("here"), str(full), MiB)
    img.create(LocalHost("here"), str(child), MiB, backing="full.qcow2")
    names = [full, child]
    while sum(len(str(name)) for name in names) < LONGEST_COMMAND:
        name = tmp_path / f"{'a vm of a long name ' * 10}{len(names)}.qcow2"
        name.hardlink_to(child if len(names) % 2 else full)
        names.append(name)
    expected = tuple("full.qcow2" if number % 2 else None for number in range(len(names)))
    assert backing_files(ssh_host, [str(name) for name in names]) == expected


@pytest.mark.parametrize("content", [None, b"short"], ids=["gone", "shorter than any image"])
def test_one_that_cannot_be_read_is_an_error_of_all(tmp_path: Path, content: bytes | None) -> None:
    full, bad = tmp_path / "full.qcow2", tmp_path / "bad.qcow2"
    img.create(LocalHost("here"), str(full), MiB)
    if content is not None:
        bad.write_bytes(content)
    with pytest.raises(BadImageError, match="cannot be read"):
        backing_files(LocalHost("here"), [str(full), str(bad)])


def test_what_qemu_img_is_asked_of_many_images_comes_in_portions_in_their_order(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("runner.hosts.host.PORTION", len(str(tmp_path)) * 3)
    names = [str(tmp_path / f"{number}.qcow2") for number in range(5)]
    for number, name in enumerate(names):
        img.create(LocalHost("here"), name, (number + 1) * MiB)
    found = img.infos(LocalHost("here"), names)
    assert [one.virtual_size for one in found] == [(number + 1) * MiB for number in range(5)]
