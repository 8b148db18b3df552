"""A small Linux on a disk: Debian's kernel and busybox, and GRUB, unpacked and never installed; no root, no loop devices.

    path = small_linux.disk()                       # made once, below .cache; shared: copy it before you change it
    mine = small_linux.copied(path, tmp_path / "disk.raw")
    small_linux.told(mine, "panic")                 # what it is to do is on the disk, and not part of how it is made

It boots with BIOS and with EFI, from any controller that QEMU's machine has of a VM, and prints on its serial port

    SHA256 <that of the file `payload` on its disk, read through the driver of the controller>
    small-linux login:

then answers on port 22 with `SSH-2.0-small-linux`. `initramfs/init.sh` says what else it can be told.
"""

from __future__ import annotations

import fcntl
import functools
import hashlib
import random
import shutil
import struct
import subprocess
import tempfile
from pathlib import Path

from runner.base.units import MiB
from tests.guests.debian_packages import depended_on, unpack
from tests.guests.gpt_disk import BIOS_BOOT, EFI_SYSTEM, LINUX, SECTOR, Partition, write
from tests.guests.initramfs import SCRIPTS, forget_others, initramfs
from tests.guests.kernel_image import without_compression

CACHE = Path(__file__).parent.parent.parent / ".cache" / "small-linux"

SIZE = 96 * MiB
GRUB = Partition("grub", BIOS_BOOT, 64 * SECTOR, MiB - 64 * SECTOR)
FILES = Partition("files", EFI_SYSTEM, MiB, 64 * MiB)
OPTIONS = Partition("options", LINUX, 65 * MiB, MiB)
SCRATCH = Partition("scratch", LINUX, 66 * MiB, 28 * MiB)

PAYLOAD = random.Random(14).randbytes(4 * MiB)

DRIVERS = (
    *("vmw_pvscsi", "mptsas", "mptspi", "sym53c8xx", "ahci", "ata_piix", "nvme", "sd_mod"),
    *("vmxnet3", "e1000", "e1000e", "pcnet32", "vfat", "nls_cp437", "nls_ascii", "pvpanic_pci", "pvpanic_mmio"),
)

KERNEL = "linux-image-amd64"
OTHERS = ("busybox-static", "grub-common", "grub-efi-amd64-bin", "grub-pc-bin", "libdevmapper1.02.1", "mtools")

LOADER = "EFI/BOOT/BOOTX64.EFI"

# Without the second line a boot takes a tenth more of the CPU, under TCG.
COMMAND_LINE = (
    "console=tty0 console=ttyS0 quiet panic=0"
    " nokaslr mitigations=off rodata=off tsc=reliable no_timer_check cryptomgr.notests ipv6.disable=1 maxcpus=1"
)


def hash_of(payload: bytes) -> str:
    """The line that it prints of it."""
    return f"SHA256 {hashlib.sha256(payload).hexdigest()}"


def copied(path: Path, to: Path) -> Path:
    """With its holes."""
    subprocess.run(["cp", "--sparse=always", str(path), str(to)], check=True, timeout=60)
    return to


def told(path: Path, *options: str) -> Path:
    """What that disk's Linux is to do, from its next start on; see `initramfs/init.sh`."""
    lines = "".join(f"{option}\n" for option in options).encode()
    assert len(lines) <= SECTOR
    with path.open("r+b") as file:
        file.seek(OPTIONS.start)
        file.write(lines.ljust(SECTOR, b"\0"))
    return path


def give(path: Path, payload: bytes) -> Path:
    """Replaces the file whose hash it prints, on that disk."""
    _mcopy(_unpacked(), path, payload, "payload")
    return path


@functools.cache
def disk() -> Path:
    """Raises NotToBeHad."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Test processes run beside each other: one makes it.
        fcntl.flock(lock, fcntl.LOCK_EX)
        root = _unpacked()
        sources = (*sorted(Path(__file__).parent.glob("*.py")), *sorted(SCRIPTS.iterdir()))
        made_of = hashlib.sha256(b"\0".join((root.name.encode(), *(one.read_bytes() for one in sources))))
        path = CACHE / f"{made_of.hexdigest()[:16]}.raw"
        if not path.exists():
            for old in CACHE.glob("*.raw*"):
                old.unlink()
            _make(root, path.with_suffix(".raw.partial"))
            path.with_suffix(".raw.partial").rename(path)
    return path


def _unpacked() -> Path:
    """The packages; fetched once, whatever newer ones there are. Raises NotToBeHad."""
    key = hashlib.sha256(" ".join((KERNEL, *OTHERS, "for", *DRIVERS)).encode()).hexdigest()[:16]
    root = CACHE / f"{key}.root"
    if not root.exists():
        for old in CACHE.glob("*.root*"):
            shutil.rmtree(old)
        partial = root.with_suffix(".root.partial")
        partial.mkdir()
        unpack((depended_on(KERNEL, "linux-image-"), *OTHERS), partial)
        forget_others(_modules(partial), DRIVERS)
        partial.rename(root)
    return root


def _make(root: Path, path: Path) -> None:
    """From unpacked packages."""
    write(path, SIZE, (GRUB, FILES, OPTIONS, SCRATCH))
    early = b"linux /vmlinuz %s\ninitrd /initrd\nboot\n" % COMMAND_LINE.encode()
    _install_grub(path, _grub(root, "i386-pc", early, "biosdisk", "part_gpt", "fat", "linux"))
    (kernel,) = (root / "boot").glob("vmlinuz-*")
    initrd = initramfs(_unpacked_at(root, "bin/busybox"), _modules(root), DRIVERS)
    _mtools(
        root,
        "mformat",
        path,
        "-T",
        str(FILES.size // SECTOR),
        "-v",
        "FILES",
        "-N",
        "20231114",
        "-h",
        "64",
        "-s",
        "32",
        "-c",
        "16",
    )
    _mtools(root, "mmd", path, "::/EFI", "::/EFI/BOOT")
    _mcopy(root, path, without_compression(kernel.read_bytes()), "vmlinuz")
    _mcopy(root, path, initrd, "initrd")
    _mcopy(root, path, PAYLOAD, "payload")
    _mcopy(root, path, _grub(root, "x86_64-efi", early, "part_gpt", "fat", "linux"), LOADER)


def _modules(root: Path) -> Path:
    (found,) = _unpacked_at(root, "lib/modules").iterdir()
    return found


def _unpacked_at(root: Path, path: str) -> Path:
    """Debian 13 has below /usr what Debian 12 has beside it."""
    return root / path if (root / path).exists() else root / "usr" / path


def _grub(root: Path, platform: str, early: bytes, *modules: str) -> bytes:
    """What the boot sector or the firmware loads, with all that it needs: the disk needs no directory of GRUB's."""
    with tempfile.TemporaryDirectory() as scratch:
        config, image = Path(scratch, "early.cfg"), Path(scratch, "image")
        config.write_bytes(early)
        argv = ["grub-mkimage", "-d", str(root / "usr/lib/grub" / platform), "-O", platform, "-c", str(config)]
        _run(root, [*argv, "-p", "(,gpt2)/grub" if platform == "i386-pc" else "/grub", "-o", str(image), *modules])
        return image.read_bytes()


def _install_grub(path: Path, core: bytes) -> None:
    """What grub-bios-setup does: the first sector is told where the image begins, and that one where it goes on (GRUB 2.06,
    grub-core/boot/i386/pc/boot.S and diskboot.S)."""
    assert len(core) <= GRUB.size
    first = GRUB.start // SECTOR
    (root,) = CACHE.glob("*.root")
    boot = (root / "usr/lib/grub/i386-pc/boot.img").read_bytes()
    with path.open("r+b") as file:
        file.write(boot[:0x5C] + struct.pack("<Q", first) + boot[0x64:440])
        file.seek(GRUB.start)
        file.write(core[:0x1F4] + struct.pack("<Q", first + 1) + core[0x1FC:])


def _mcopy(root: Path, path: Path, content: bytes, name: str) -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(content)
        file.flush()
        _mtools(root, "mcopy", path, "-o", file.name, f"::/{name}")


def _mtools(root: Path, command: str, path: Path, *words: str) -> None:
    _run(root, [command, "-i", f"{path}@@{FILES.start}", *words])


def _run(root: Path, argv: list[str]) -> None:
    """A program of the unpacked packages. What mtools writes bears the same date always."""
    libraries = root / "lib/x86_64-linux-gnu"
    environment = {
        "LD_LIBRARY_PATH": str(libraries),
        "MTOOLS_SKIP_CHECK": "1",
        "SOURCE_DATE_EPOCH": "1700000000",
        "TZ": "UTC",
    }
    program = [str(root / "usr/bin" / argv[0]), *argv[1:]]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, timeout=60, check=False)
    if done.returncode != 0:
        raise AssertionError(f"{argv[0]}: {done.stderr}")
