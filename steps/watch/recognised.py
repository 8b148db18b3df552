"""Boot failures that can be told by what a machine says: a table, and how it is read.

What a guest says may quote any of it (a login banner, a log that is printed), so each row says how little
proves it: what is at the very end, a prompt above all, after which nothing more is said for a while.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from runner.base.units import KiB
from steps.values.machine import DoubtKind
from steps.watch.expectations import one_line
from steps.watch.machine_events import NO_DISK, Finding

Place = Literal["firmware", "serial", "screen"]
"""Where it was said: SeaBIOS's debug port, the first serial port, the console's text."""

Basis = Literal["documented", "reported", "assumed"]

LOOKED_AT = 16 * KiB
"""Bytes of text at the end in which a failure is looked for: a kernel's panic with its trace has 4 KiB."""

LONGEST_QUOTE = 120
"""Characters."""

QUIET = 3.0
"""Seconds: TCG on a busy machine takes one for what is a moment elsewhere."""

_ANYWHERE = 10_000


@dataclass(frozen=True)
class Failure:
    pattern: re.Pattern[str]
    """Of a whole line."""
    places: frozenset[Place]
    sentence: str
    last: int
    """Among how many last lines that are not blank it has to be."""
    quiet: float
    """Seconds that nothing more may be said before it is believed."""
    basis: Basis
    source: str
    early: bool = False
    """It is said before any system runs: once something that was expected was seen, it is a quotation."""
    reason: re.Pattern[str] | None = None
    """What was said before it, in group 1, of why; the last one is told."""
    needs_reason: bool = False
    """Without it, it is another failure."""
    doubts: tuple[DoubtKind, ...] = ()
    """As `Finding.doubts`."""
    undecided: str = ""
    """Why it may be the drill's own doing in any machine, and what to do."""


@dataclass(frozen=True)
class Said:
    """What is at the end of one place."""

    place: Place
    lines: tuple[str, ...]
    """Those that are not blank."""
    quiet: float
    """For how many seconds nothing was added."""


def recognised(said: Iterable[Said], has_evidence: bool) -> Finding | None:
    """What failed, with what the machine said; None where that cannot be told."""
    for one in said:
        for failure in FAILURES:
            if one.place not in failure.places or one.quiet < failure.quiet:
                continue
            if failure.early and has_evidence:
                continue
            if (words := _words(failure, one.lines)) is None:
                continue
            if failure.undecided:
                return Finding("undecided", f"{words}; {failure.undecided}")
            return Finding("failed", words, failure.doubts)
    return None


def quoted(text: str) -> str:
    return f"'{one_line(text, LONGEST_QUOTE)}'"


def panic(*said: tuple[str, ...]) -> str | None:
    """The first line in which a kernel says that it panicked."""
    lines = [line for lines in said for line in lines if PANIC.match(line)]
    return lines[0].strip() if lines else None


def doubts_of_panic(line: str) -> tuple[DoubtKind, ...]:
    """As `Finding.doubts`, of the line in which a kernel says that it panicked."""
    return next(one.doubts for one in FAILURES if one.sentence == _PANICKED and one.pattern.match(line))


def _words(failure: Failure, lines: tuple[str, ...]) -> str | None:
    first = max(0, len(lines) - failure.last)
    at = next((at for at in range(first, len(lines)) if failure.pattern.match(lines[at])), None)
    if at is None:
        return None
    before = "\n".join(lines[:at])
    reasons = [found[1] for found in failure.reason.finditer(before)] if failure.reason else []
    if failure.needs_reason and not reasons:
        return None
    return f"{failure.sentence}: {', '.join(map(quoted, [*reasons[-1:], lines[at].strip()]))}"


def _failure(
    pattern: str,
    places: str,
    sentence: str,
    source: str,
    *,
    last: int,
    quiet: float,
    basis: Basis = "documented",
    early: bool = False,
    reason: str = "",
    needs_reason: bool = False,
    doubts: tuple[DoubtKind, ...] = (),
    undecided: str = "",
) -> Failure:
    known: dict[str, Place] = {"firmware": "firmware", "serial": "serial", "screen": "screen"}
    return Failure(
        re.compile(pattern),
        frozenset(known[place] for place in places.split()),
        sentence,
        last,
        quiet,
        basis,
        source,
        early,
        re.compile(reason, re.MULTILINE) if reason else None,
        needs_reason,
        doubts,
        undecided,
    )


_DIGIT = "[\\d\ufffd]"
_KERNEL = rf"(?:<\d>)?(?:\[ *{_DIGIT}+\.{_DIGIT}+\] ?(?:\[ *[TC]{_DIGIT}+\] ?)?)?"
"""What stands before a kernel's message: its level, the time, who said it. A digit may be one that could not
be read."""

_UNIT_FAILED = (
    r"^(.*(?:does not exist|Failed to mount |Timed out waiting for device |Dependency failed for ).*)"
)

PANIC = re.compile(_KERNEL + r"(---\[ end )?Kernel panic - not syncing")
"""The first such line says why; of a screen, the trace that follows it leaves only the end."""

_PANICKED = "the kernel panicked"

_ROOT = r".*(Unable to mount root|Attempted to kill init|No working init found)"
"""What is left to a kernel whose root file system is not there (Linux init/do_mounts.c, kernel/exit.c,
init/main.c)."""

_OTHER_KEYS = (
    "that may be the drill's own doing: its keys are Microsoft's, and the VM's own are not read; restore it "
    "into vCenter to know"
)

FAILURES: tuple[Failure, ...] = (
    _failure(
        r"No bootable device\.",
        "firmware screen",
        "the BIOS found nothing that boots",
        "SeaBIOS src/boot.c: boot_fail, boot_disk",
        last=4,
        quiet=QUIET,
        early=True,
        reason=r"^Booting from (?!Floppy).*\n(Boot failed: .*)",
        doubts=("disk",),
    ),
    _failure(
        r"BdsDxe: No bootable option or device was found",
        "serial screen",
        "secure boot refused the boot loader, which is signed by no key that the firmware here trusts",
        "EDK II MdeModulePkg/Universal/BdsDxe, SecurityPkg/Library/DxeImageVerificationLib",
        last=4,
        quiet=QUIET,
        early=True,
        reason=r"^BdsDxe: failed to (?:load|start) Boot.{4} (?!.* from Fv\()(?:.* from HD\(.*\)/)?(.*): "
        r"(?:Access Denied|Security Violation)$",
        needs_reason=True,
        undecided=_OTHER_KEYS,
    ),
    _failure(
        r"BdsDxe: No bootable option or device was found",
        "serial screen",
        "the UEFI firmware found nothing that boots",
        "EDK II MdeModulePkg/Universal/BdsDxe",
        last=4,
        quiet=QUIET,
        early=True,
        reason=r"^(BdsDxe: failed to (?:load|start) .*)",
        doubts=("disk",),
    ),
    _failure(
        r"(UEFI Interactive )?Shell> *$",
        "serial screen",
        "the UEFI firmware found nothing that boots and stopped at its shell",
        "EDK II ShellPkg; before its prompt it runs startup.nsh, which may still boot something",
        last=1,
        quiet=2 * QUIET,
        reason=r"^(BdsDxe: failed to (?:load|start) .*)",
        doubts=("disk",),
    ),
    _failure(
        r"grub rescue> *$",
        "serial screen",
        "GRUB stopped at its rescue prompt",
        "GRUB manual, 'GRUB only offers a rescue shell'",
        last=1,
        quiet=QUIET,
        reason=r"^(error: .*)",
        doubts=("disk",),
    ),
    _failure(
        r"grub> *$",
        "serial screen",
        "GRUB stopped at its prompt, for it found no menu",
        "GRUB manual, 'Command-line interface'",
        last=1,
        quiet=QUIET,
        reason=r"^(error: .*)",
        doubts=("disk",),
    ),
    _failure(
        r"GRUB (loading\.* *)?(Geom|Hard Disk|Read) Error",
        "serial screen",
        "GRUB could not read the disk",
        "GRUB grub-core/boot/i386/pc/boot.S",
        last=2,
        quiet=QUIET,
        early=True,
    ),
    _failure(
        r"(.*[. ])?(Missing operating system|Operating System not found|Error loading operating system"
        r"|Invalid partition table)\b",
        "screen",
        "the disk's boot code found no system",
        "Master boot records of Microsoft, syslinux and VMware's BIOS",
        last=3,
        quiet=QUIET,
        basis="reported",
        early=True,
        doubts=("disk",),
    ),
    _failure(
        r"(BOOTMGR|NTLDR) is (missing|compressed)",
        "screen",
        "Windows's boot code did not find its loader",
        "Microsoft support, 'BOOTMGR is missing'",
        last=3,
        quiet=QUIET,
        early=True,
        doubts=("disk",),
    ),
    _failure(
        r" *Windows failed to start\. A recent hardware or software change might be the cause",
        "screen",
        "Windows's boot manager could not start Windows",
        "Microsoft support, 'Windows failed to start'",
        last=25,
        quiet=QUIET,
        basis="reported",
        doubts=NO_DISK,
    ),
    _failure(
        PANIC.pattern + _ROOT,
        "serial screen",
        _PANICKED,
        "Linux kernel/panic.c, init/do_mounts.c, kernel/exit.c",
        last=_ANYWHERE,
        quiet=QUIET,
        doubts=NO_DISK,
    ),
    _failure(
        PANIC.pattern + r".*([Oo]ut of memory|deadlocked on memory)",
        "serial screen",
        _PANICKED,
        "Linux mm/oom_kill.c",
        last=_ANYWHERE,
        quiet=QUIET,
        doubts=("memory",),
    ),
    _failure(
        PANIC.pattern,
        "serial screen",
        _PANICKED,
        "Linux kernel/panic.c",
        last=_ANYWHERE,
        quiet=QUIET,
    ),
    _failure(
        r"\(initramfs\) *$",
        "serial screen",
        "the system stopped at the shell of its initramfs",
        "Debian initramfs-tools, scripts/functions: panic",
        last=1,
        quiet=QUIET,
        reason=r"^((?:ALERT! |mount: |Gave up waiting for ).*)",
        doubts=NO_DISK,
    ),
    _failure(
        r"(.*\] *)?(Entering emergency mode\.|.*You are in (emergency|rescue) mode\.)",
        "serial screen",
        "the system stopped in emergency mode",
        "dracut-emergency.sh; systemd emergency.service",
        last=12,
        quiet=QUIET,
        reason=_UNIT_FAILED,
        doubts=NO_DISK,
    ),
    _failure(
        r"Give root password for maintenance",
        "serial screen",
        "the system stopped in emergency mode",
        "util-linux and sysvinit sulogin",
        last=3,
        quiet=QUIET,
        reason=_UNIT_FAILED,
        doubts=NO_DISK,
    ),
    _failure(
        r"mountroot> *$",
        "serial screen",
        "the kernel did not find its root file system",
        "FreeBSD sys/kern/vfs_mountroot.c",
        last=1,
        quiet=QUIET,
        doubts=NO_DISK,
    ),
)
