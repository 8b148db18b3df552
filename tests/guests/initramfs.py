"""An initramfs: busybox, scripts, and drivers with what they depend on. A cpio archive of the "newc" kind (Linux,
Documentation/driver-api/early-userspace/buffer-format.rst), and not compressed: under TCG that would cost more than it saves."""

from __future__ import annotations

import lzma
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SCRIPTS = Path(__file__).parent / "initramfs"

_APPLETS = (
    *(
        "[",
        "cat",
        "cp",
        "cut",
        "dd",
        "echo",
        "findfs",
        "grep",
        "head",
        "ip",
        "ls",
        "modprobe",
        "mount",
        "nc",
        "nslookup",
    ),
    *("ping", "poweroff", "printf", "sed", "sh", "sha256sum", "sleep", "tr", "udhcpc", "umount", "usleep", "yes"),
)


@dataclass(frozen=True)
class _Entry:
    name: str
    mode: int
    content: bytes = b""
    device: tuple[int, int] = (0, 0)


def initramfs(busybox: Path, modules: Path, drivers: Sequence[str]) -> bytes:
    """`modules` is a kernel's /lib/modules/VERSION, as its package has it: without the indices that depmod makes."""
    entries = [*_places(busybox), *_modules(modules, drivers), _Entry("TRAILER!!!", 0)]
    return b"".join(_packed(number, entry) for number, entry in enumerate(entries, 1))


def forget_others(modules: Path, drivers: Sequence[str]) -> None:
    """Removes the drivers that such an initramfs has no use for: a kernel's are 400 MiB."""
    files = _files(modules)
    for name in files.keys() - _wanted(files, drivers).keys():
        files[name].unlink()


def _places(busybox: Path) -> Iterator[_Entry]:
    for folder in ("bin", "dev", "lib", "lib/modules", "mnt", "proc", "sys"):
        yield _Entry(folder, stat.S_IFDIR | 0o755)
    # The kernel opens it for the first process, before that one can make it.
    yield _Entry("dev/console", stat.S_IFCHR | 0o600, device=(5, 1))
    yield _Entry("bin/busybox", stat.S_IFREG | 0o755, busybox.read_bytes())
    for applet in _APPLETS:
        yield _Entry(f"bin/{applet}", stat.S_IFLNK | 0o777, b"busybox")
    for name, script in (("init", "init.sh"), ("bin/leased", "leased.sh"), ("bin/banner", "banner.sh")):
        yield _Entry(name, stat.S_IFREG | 0o755, (SCRIPTS / script).read_bytes())


def _modules(tree: Path, drivers: Sequence[str]) -> Iterator[_Entry]:
    """Those drivers, what they depend on, and the two indices that modprobe reads. One that is built into the kernel is in no
    file and is left out."""
    files = _files(tree)
    wanted = _wanted(files, drivers)
    place = f"lib/modules/{tree.name}"
    yield _Entry(place, stat.S_IFDIR | 0o755)
    for name in sorted(wanted):
        yield _Entry(f"{place}/{name}.ko", stat.S_IFREG | 0o644, _content(files[name]))
    depends = (f"{name}.ko: {' '.join(f'{one}.ko' for one in _closure(wanted, name))}\n" for name in sorted(wanted))
    aliases = (f"alias {alias} {name}\n" for name in sorted(wanted) for alias in _told(files[name], "alias"))
    for index, lines in (("modules.dep", depends), ("modules.alias", aliases)):
        yield _Entry(f"{place}/{index}", stat.S_IFREG | 0o644, "".join(lines).encode())


def _files(tree: Path) -> dict[str, Path]:
    return {_plain(path.name.partition(".ko")[0]): path for path in sorted(tree.rglob("*.ko*"))}


def _content(module: Path) -> bytes:
    """Debian 13 compresses each."""
    content = module.read_bytes()
    return lzma.decompress(content) if module.suffix == ".xz" else content


def _wanted(files: Mapping[str, Path], drivers: Sequence[str]) -> dict[str, list[str]]:
    """Each with what it depends on itself."""
    wanted: dict[str, list[str]] = {}
    queue = [_plain(name) for name in drivers]
    while queue:
        if (name := queue.pop()) in files and name not in wanted:
            wanted[name] = [_plain(one) for line in _told(files[name], "depends") for one in line.split(",") if one]
            queue += wanted[name]
    return wanted


def _closure(wanted: Mapping[str, list[str]], name: str) -> list[str]:
    """What it depends on, itself or through others, the nearest first: modprobe loads them from the end."""
    found: list[str] = []
    for one in wanted[name]:
        for each in (one, *_closure(wanted, one)):
            if each in found:
                found.remove(each)
            found.append(each)
    return found


def _told(module: Path, field: str) -> list[str]:
    """Of its section .modinfo: strings with zeros between them."""
    found = re.findall(rb"\0" + field.encode() + rb"=([^\0]*)(?=\0)", _content(module))
    return [one.decode() for one in found]


def _plain(name: str) -> str:
    return name.replace("-", "_")


def _packed(number: int, entry: _Entry) -> bytes:
    name = entry.name.encode() + b"\0"
    fields = (number, entry.mode, 0, 0, 1, 0, len(entry.content), 0, 0, *entry.device, len(name), 0)
    head = b"070701" + b"".join(b"%08X" % field for field in fields) + name
    return _padded(head) + _padded(entry.content)


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)
