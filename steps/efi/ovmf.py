"""Which OVMF a host has: EDK2's UEFI firmware for a PC of QEMU.

Distributions keep it in places of their own, in builds with 2 or 4 MiB of flash whose parts must not be
mixed, with and without secure boot. Their packages say which files belong together: one JSON descriptor for
each build, made for programs that start QEMU (documented: QEMU, docs/interop/firmware.json). Debian's `ovmf`
brings them (looked: 2022.11), as do `edk2-ovmf` of Fedora, RHEL and Arch and SUSE's `qemu-ovmf-x86_64`
(reported).
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Literal

from pydantic import ConfigDict, ValidationError

from runner.base.errors import HostError, SendenseError
from runner.base.model import Model
from runner.base.units import MiB
from runner.events.check_results import Observation, good, noted, observe
from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.script import load
from runner.step.context import Context
from runner.step.tools import HERE
from steps.values.machine import Firmware

DIRECTORIES = ("/usr/share/qemu/firmware", "/etc/qemu/firmware")
"""Of descriptors: what packages bring, and what an administrator says instead. A file of the second one
replaces that of its name in the first, and an empty one hides it (documented)."""

_LARGEST = 16 * MiB
"""Of a variable store, as it is read: OVMF's have 128 and 528 KiB."""

_MACHINE = "pc-q35-7.2"
"""What a machine that may run it is called: they differ in their version."""

_FIRMWARE = load("steps/efi/scripts/firmware.sh")

Format = Literal["raw", "qcow2"]


@dataclass(frozen=True)
class Ovmf:
    code: str
    """Absolute path of the firmware's code, for the first flash."""
    vars: str
    """Absolute path of the variable store that belongs to it: a template, of which a machine gets a copy."""
    secure: bool
    """Whether the template has keys in it, Microsoft's among them, and secure boot is on."""
    smm: bool = False
    """Whether it needs system management mode, in which alone it then writes variables."""
    format: Format = "raw"
    """Of both files."""


class OvmfMissing(SendenseError):
    def __init__(self, host: str) -> None:
        self.host = host
        super().__init__(
            f"host {host} has no OVMF, which boots machines with EFI: install it there (Debian package ovmf)"
        )


class _Answer(Model):
    """Descriptors have more fields than are used here."""

    model_config = ConfigDict(extra="ignore", alias_generator=lambda name: name.replace("_", "-"))


class _Flash(_Answer):
    filename: str
    format: Format


class _Mapping(_Answer):
    device: Literal["flash"]
    executable: _Flash
    nvram_template: _Flash


class _Target(_Answer):
    architecture: str
    machines: tuple[str, ...]


class _Descriptor(_Answer):
    interface_types: tuple[str, ...]
    mapping: _Mapping
    targets: tuple[_Target, ...]
    features: tuple[str, ...] = ()

    @property
    def is_ours(self) -> bool:
        return "uefi" in self.interface_types and any(
            target.architecture == "x86_64" and any(fnmatchcase(_MACHINE, glob) for glob in target.machines)
            for target in self.targets
        )


def find(ctx: Context, host: Host, firmware: Firmware) -> Ovmf:
    """What `host` boots a machine of that firmware with, looked for once a run. Of `efi-secure` it is one
    without secure boot where the host has none with keys. Raises OvmfMissing, HostError."""
    found = ctx.once(("ovmf", host.name), lambda: builds(host))
    if (best := choice(found, firmware)) is None:
        raise OvmfMissing(host.name)
    return best


def template(host: Host, ovmf: Ovmf, directory: str) -> bytes:
    """The variable store that a machine's is made from, as flash has it. `directory`, on `host`, is for a
    copy of one in another format. Raises HostError."""
    path = ovmf.vars
    if ovmf.format != "raw":
        path = posixpath.join(directory, "firmware-template")
        host.run(("qemu-img", "convert", "-f", ovmf.format, "-O", "raw", ovmf.vars, path))
    try:
        return host.read(path, limit=_LARGEST)
    except OSError as error:
        raise HostError(f"{ovmf.vars} on {host.name} cannot be read: {error}") from error


def observation(ctx: Context, host: Host) -> Observation:
    """Whether `host` can boot machines with EFI, for a doctor."""
    return observe(f"host {host.name}", "OVMF, for machines with EFI", lambda: _told(ctx, host))


def here() -> Observation:
    """Of this machine, see `runner.step.tools.Program.here`."""
    looked_at = "OVMF, for restore points with EFI that are booted here"
    try:
        found = builds(LocalHost(HERE))
    except SendenseError as error:
        return noted(HERE, looked_at, error.message)
    plain, secure = choice(found, "efi"), choice(found, "efi-secure")
    if plain is None or secure is None:
        return noted(HERE, looked_at, "it is not installed", "install ovmf if it is needed here")
    return good(HERE, looked_at, _words(plain, secure))


def _told(ctx: Context, host: Host) -> str:
    return _words(find(ctx, host, "efi"), find(ctx, host, "efi-secure"))


def _words(plain: Ovmf, secure: Ovmf) -> str:
    return (
        f"{plain.code}; secure boot with {secure.code}" if secure.secure else f"{plain.code}; no secure boot"
    )


def choice(found: Sequence[Ovmf], firmware: Firmware) -> Ovmf | None:
    """The best of `found`, which stand in their distribution's order. Without secure boot one is preferred
    that needs no system management mode, which costs emulation."""
    secure = [one for one in found if one.secure and firmware == "efi-secure"]
    plain = [one for one in found if not one.secure]
    return next(iter((*secure, *sorted(plain, key=lambda one: one.smm))), None)


def builds(host: Host, directories: Sequence[str] = DIRECTORIES) -> tuple[Ovmf, ...]:
    """All that `host` has for machines of ours, in the order in which their distribution prefers them: one
    round trip. Raises HostError."""
    parts = host.run(_FIRMWARE.argv(*directories, name="firmware")).stdout.split(b"\0")
    descriptors = {}
    # A later directory wins.
    for path, text, there in zip(parts[::3], parts[1::3], parts[2::3], strict=False):
        descriptors[posixpath.basename(path)] = text, there
    return tuple(ovmf for _, of in sorted(descriptors.items()) for ovmf in _ovmf(*of))


def _ovmf(text: bytes, there: bytes) -> Iterator[Ovmf]:
    """None of a descriptor of something else, or of files that are not there. `there`: names and where they
    lead, line by line."""
    try:
        descriptor = _Descriptor.model_validate_json(text)
    except ValidationError:
        return
    lines = there.decode(errors="surrogateescape").splitlines()
    places = dict(zip(lines[::2], lines[1::2], strict=False))
    code, variables = descriptor.mapping.executable, descriptor.mapping.nvram_template
    if not descriptor.is_ours or code.format != variables.format:
        return
    if code.filename in places and variables.filename in places:
        yield Ovmf(
            code=places[code.filename],
            vars=places[variables.filename],
            secure="enrolled-keys" in descriptor.features,
            smm="requires-smm" in descriptor.features,
            format=code.format,
        )
