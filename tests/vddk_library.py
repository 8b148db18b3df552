"""nbdkit's real vddk plugin on a stand-in for VMware's library (`vddk/vixDiskLib.c`), which is proprietary. The tests are
skipped where the plugin or a C compiler is not to be had."""

from __future__ import annotations

import shutil
import subprocess
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from runner.hosts.secrets import resolve
from steps.vsphere.section import VCenter
from steps.vsphere.tls import sha1_thumbprint, trust
from tests.vcenter import PASSWORD, USER, Lab

ROOT = Path(__file__).parent.parent
FETCHED = ROOT / ".cache" / "vddk" / "nbdkit-vddk-plugin.so"
SOURCE = Path(__file__).parent / "vddk" / "vixDiskLib.c"


@dataclass
class Vddk:
    """`libdir` is for one test alone: what the library expects stands there."""

    plugin: str
    libdir: Path
    expected: dict[str, str] = field(default_factory=dict)

    def expect(self, **changes: str) -> None:
        """Takes effect at once. See the library's source for the words."""
        self.expected |= changes
        (self.libdir / "expected").write_text("".join(f"{key}={value}\n" for key, value in self.expected.items()))

    def expect_lab(self, lab: Lab, snapshot: str, vm: str) -> None:
        """The login, certificate, VM and snapshot of that simulated vCenter, and its datastores."""
        self.expect(
            user=USER,
            password=PASSWORD,
            thumbprint=sha1_thumbprint(lab.section, trust(lab.section)),
            vm=f"moref={vm}",
            snapshot=snapshot,
            transports="nbdssl",
            root=str(lab.scratch / "vcenter" / "datastores"),
        )

    def expect_vcenter(self, section: VCenter, root: Path) -> None:
        """Its login and certificate, for any VM that is off; its datastores are below `root`."""
        self.expect(
            user=section.username,
            password=resolve(section.password, threading.Event()).reveal(),
            thumbprint=sha1_thumbprint(section, trust(section)),
            vm="*",
            snapshot="",
            transports="nbdssl",
            root=str(root),
        )

    def requests(self, what: str) -> list[tuple[str, int, int]]:
        """What disks were asked for, `r`, `w` or `f` (read, write, flush): name of the file, offset, bytes."""
        noted = self.libdir / "requests"
        lines = noted.read_text().splitlines() if noted.exists() else []
        found = [line[2:].rsplit(" ", 2) for line in lines if line[0] == what]
        return [(Path(path).name, int(offset), int(length)) for path, offset, length in found]

    @property
    def options(self) -> dict[str, Any]:
        """For the step's `vddk:`."""
        return {"plugin": self.plugin, "libdir": str(self.libdir)}


def compiled(into: Path) -> Path:
    """The stand-in, in a directory as VMware's distribution has it."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed, so there is no stand-in for VMware's library")
    library = into / "lib64" / "libvixDiskLib.so.8"
    library.parent.mkdir(parents=True)
    argv = ["gcc", "-shared", "-fPIC", "-O1", "-Wall", "-o", str(library), str(SOURCE)]
    subprocess.run(argv, check=True, timeout=60)
    return into


def plugin() -> str:
    """By path where it was fetched, by name where it is installed."""
    if FETCHED.exists():
        return str(FETCHED)
    if (
        subprocess.run(["nbdkit", "vddk", "--dump-plugin"], capture_output=True, timeout=30, check=False).returncode
        == 0
    ):
        return "vddk"
    pytest.skip("nbdkit's vddk plugin is neither installed nor fetched (.ci/vddk-plugin)")


@pytest.fixture(scope="session")
def vddk_distribution(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return compiled(tmp_path_factory.mktemp("vddk"))


@pytest.fixture
def vddk(vddk_distribution: Path, tmp_path: Path) -> Vddk:
    name = plugin()
    libdir = tmp_path / "vmware-vix-disklib-distrib"
    (libdir / "lib64").mkdir(parents=True)
    (libdir / "lib64" / "libvixDiskLib.so.8").symlink_to(vddk_distribution / "lib64" / "libvixDiskLib.so.8")
    made = Vddk(name, libdir)
    made.expect()
    return made
