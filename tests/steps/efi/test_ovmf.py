"""Which OVMF a host has: what the descriptors of its packages say, and what is really there."""

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from runner.base.errors import SendenseError
from runner.base.units import MiB
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from steps.boot import firmware
from steps.efi import ovmf
from steps.efi.ovmf import Ovmf, OvmfMissing
from steps.values.machine import Machine
from tests.hub import Hub

HERE = LocalHost("local")


class Installed:
    """A host's descriptors, and the files that they name."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.directories = tuple(str(root / name) for name in ("packages", "own"))
        for directory in self.directories:
            Path(directory).mkdir()

    def add(
        self,
        name: str,
        *features: str,
        own: bool = False,
        machine: str = "pc-q35-*",
        of_format: str = "raw",
        absent: str = "",
    ) -> None:
        files = {part: self.root / f"{name}.{part}.fd" for part in ("code", "vars")}
        for part, file in files.items():
            if part != absent:
                file.write_bytes(part.encode())
        flash = {part: {"filename": str(file), "format": of_format} for part, file in files.items()}
        descriptor = {
            "description": 'quotes " and more',
            "interface-types": ["uefi"],
            "mapping": {"device": "flash", "executable": flash["code"], "nvram-template": flash["vars"]},
            "targets": [{"architecture": "x86_64", "machines": [machine]}],
            "features": ["acpi-s3", *features],
            "tags": [],
        }
        (self.root / ("own" if own else "packages") / f"{name}.json").write_text(json.dumps(descriptor, indent=4))

    def found(self, host: Host = HERE) -> tuple[Ovmf, ...]:
        return ovmf.builds(host, self.directories)

    def names(self) -> list[str]:
        return [Path(one.code).name.removesuffix(".code.fd") for one in self.found()]

    def chosen(self, firmware: ovmf.Firmware) -> str | None:
        best = ovmf.choice(self.found(), firmware)
        return best and Path(best.code).name.removesuffix(".code.fd")


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    return Installed(tmp_path)


def machine(of: ovmf.Firmware) -> Machine:
    return Machine(name="vm1", uuid="", guest="", firmware=of, memory=MiB, cpus=1, disks=(), cards=())


def debian(installed: Installed) -> None:
    installed.add("40-enrolled", "requires-smm", "secure-boot", "enrolled-keys")
    installed.add("50-secure", "requires-smm", "secure-boot")
    installed.add("60-plain")


def test_code_and_variables_of_one_build_stay_together(installed: Installed) -> None:
    debian(installed)
    for one in installed.found():
        assert Path(one.code).name.split(".")[0] == Path(one.vars).name.split(".")[0]


def test_secure_boot_needs_keys_and_what_is_without_it_no_system_management_mode(installed: Installed) -> None:
    debian(installed)
    assert installed.chosen("efi") == "60-plain"
    assert installed.chosen("efi-secure") == "40-enrolled"


def test_where_no_keys_are_enrolled_there_is_no_secure_boot(installed: Installed) -> None:
    installed.add("50-secure", "requires-smm", "secure-boot")
    best = ovmf.choice(installed.found(), "efi-secure")
    assert best and not best.secure and best.smm


@pytest.mark.parametrize(
    "how",
    [
        {"machine": "virt-*"},
        {"of_format": "vmdk"},
        {"absent": "code"},
        {"absent": "vars"},
    ],
    ids=["of another machine", "in an unknown format", "without its code", "without its variables"],
)
def test_what_cannot_boot_our_machines_is_passed_over(installed: Installed, how: dict[str, str]) -> None:
    installed.add("10-odd", **how)  # type: ignore[arg-type]
    installed.add("60-plain")
    assert installed.names() == ["60-plain"]


def test_an_administrator_replaces_and_hides_what_packages_bring(installed: Installed) -> None:
    debian(installed)
    installed.add("70-local", own=True)
    (Path(installed.directories[1]) / "60-plain.json").touch()
    installed.add("50-secure", "acpi-s4", own=True)
    assert installed.names() == ["40-enrolled", "50-secure", "70-local"]
    assert installed.chosen("efi") == "50-secure"


def test_what_is_no_descriptor_is_passed_over(installed: Installed) -> None:
    directory = Path(installed.directories[0])
    (directory / "10-text.json").write_text("not\0 JSON")
    (directory / "20-list.json").write_text("[]")
    (directory / "30-directory.json").mkdir()
    installed.add("60-plain")
    assert installed.names() == ["60-plain"]


def test_symbolic_links_are_followed_to_the_file(installed: Installed) -> None:
    installed.add("60-plain")
    file = installed.root / "60-plain.vars.fd"
    file.rename(installed.root / "real.fd")
    file.symlink_to("real.fd")
    (one,) = installed.found()
    assert ovmf.template(HERE, one, "/nowhere") == b"vars"
    assert one.vars == str(installed.root / "real.fd")


def test_a_variable_store_in_qcow2_is_read_as_flash_has_it(installed: Installed, tmp_path: Path) -> None:
    installed.add("60-plain", of_format="qcow2")
    (one,) = installed.found()
    raw = tmp_path / "raw"
    raw.write_bytes(b"_FVH" * 1024)
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, one.vars], check=True)
    assert ovmf.template(HERE, one, str(tmp_path)) == raw.read_bytes()


def test_it_is_found_on_a_host_behind_sshd(installed: Installed, ssh_host: Host) -> None:
    debian(installed)
    assert installed.found(ssh_host) == installed.found()


def test_a_host_without_any_is_told_what_to_install(hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ovmf.builds, "__defaults__", ((str(tmp_path),),))
    with pytest.raises(OvmfMissing, match="install it there"):
        ovmf.find(hub.context(), HERE, "efi")
    assert ovmf.observation(hub.context(), HERE).state == "wrong"


def test_that_secure_boot_is_off_where_no_keys_come_with_ovmf_is_in_the_plan(
    hub: Hub, installed: Installed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ovmf.builds, "__defaults__", (installed.directories,))
    installed.add("50-secure", "requires-smm", "secure-boot")
    (change,) = firmware.changes(hub.context(), HERE, machine("efi-secure"))
    assert change.sentence == "secure boot (on) becomes off: no OVMF of host local comes with keys"
    assert change.warn


@pytest.mark.parametrize("of", ["efi", "efi-secure"])
def test_where_they_come_with_keys_nothing_changes(
    hub: Hub, installed: Installed, monkeypatch: pytest.MonkeyPatch, of: ovmf.Firmware
) -> None:
    monkeypatch.setattr(ovmf.builds, "__defaults__", (installed.directories,))
    debian(installed)
    assert firmware.changes(hub.context(), HERE, machine(of)) == ()


def test_a_template_that_cannot_be_read_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(SendenseError, match=r"absent\.fd on local cannot be read"):
        ovmf.template(HERE, Ovmf("code", str(tmp_path / "absent.fd"), secure=False), str(tmp_path))


@pytest.mark.skipif(not Path("/usr/share/OVMF").is_dir(), reason="Debian's ovmf is not installed")
@pytest.mark.parametrize("firmware", ["efi", "efi-secure"])
def test_that_of_this_machine_is_whole(hub: Hub, firmware: ovmf.Firmware) -> None:
    one = ovmf.find(hub.context(), HERE, firmware)
    assert one.secure == (firmware == "efi-secure")
    sizes = [Path(path).stat().st_size for path in (one.code, one.vars)]
    assert sum(sizes) in (2 << 20, 4 << 20)
    assert len(ovmf.template(HERE, one, "")) == sizes[1]
    assert shutil.which("qemu-img")
