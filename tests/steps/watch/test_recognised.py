"""Which failures are told by what a machine says, and which words are only quoted."""

from __future__ import annotations

import pytest

from steps.watch.machine_events import Finding
from steps.watch.recognised import FAILURES, QUIET, Place, Said, recognised


def told(text: str, place: Place = "serial", *, quiet: float = 2 * QUIET, evidence: bool = False) -> str | None:
    found = heard(text, place, quiet=quiet, evidence=evidence)
    return None if found is None else found.why


def heard(text: str, place: Place, *, quiet: float = 2 * QUIET, evidence: bool = False) -> Finding | None:
    return recognised([Said(place, tuple(line for line in text.split("\n") if line.strip()), quiet)], evidence)


FAILED = {
    "SeaBIOS": (
        "firmware",
        "Booting from Hard Disk...\nBoot failed: not a bootable disk\n\nBooting from Floppy...\n"
        "Boot failed: could not read the boot disk\nenter handle_18:\n  NULL\nNo bootable device.",
        "the BIOS found nothing that boots: 'Boot failed: not a bootable disk', 'No bootable device.'",
    ),
    "SeaBIOS on the screen": (
        "screen",
        "SeaBIOS (version 1.16.2-debian-1.16.2-1)\nBooting from Hard Disk...\n"
        "Boot failed: could not read the boot disk\nNo bootable device.  Retrying in 60 seconds.",
        "the BIOS found nothing that boots: 'Boot failed: could not read the boot disk', "
        "'No bootable device. Retrying in 60 seconds.'",
    ),
    "OVMF": (
        "serial",
        'BdsDxe: failed to load Boot0001 "UEFI QEMU HARDDISK QM00001 " from PciRoot(0x0)/Pci(0x1F,0x2): Not Found\n'
        "BdsDxe: No bootable option or device was found.\nBdsDxe: Press any key to enter the Boot Manager Menu.",
        'the UEFI firmware found nothing that boots: \'BdsDxe: failed to load Boot0001 "UEFI QEMU HARDDISK QM00001 " '
        "from PciRoot(0x0)/Pci(0x1F,0x2): Not Found', 'BdsDxe: No bootable option or device was found.'",
    ),
    "secure boot": (
        "serial",
        'BdsDxe: failed to load Boot0004 "debian" from HD(1,GPT,1111,0x800,0xF000)/\\EFI\\debian\\shimx64.efi: '
        'Access Denied\nBdsDxe: failed to load Boot0001 "UEFI QEMU HARDDISK QM00001 " from Sata(0x0): Not Found\n'
        'BdsDxe: failed to start Boot0002 "EFI Internal Shell" from Fv(7CB8)/FvFile(7C04): Security Violation\n'
        "BdsDxe: No bootable option or device was found.",
        "secure boot refused the boot loader, which is signed by no key that the firmware here trusts: "
        "'\\EFI\\debian\\shimx64.efi', 'BdsDxe: No bootable option or device was found.'; that may be the drill's own "
        "doing: its keys are Microsoft's, and the VM's own are not read; restore it into vCenter to know",
    ),
    "UEFI shell": (
        "serial",
        "UEFI Interactive Shell v2.2\nEDK II\nPress ESC in 1 seconds to skip startup.nsh or any other key to continue.\n"
        "Shell> ",
        "the UEFI firmware found nothing that boots and stopped at its shell: 'Shell>'",
    ),
    "GRUB rescue": (
        "screen",
        "GRUB loading.\nWelcome to GRUB!\nerror: file `/boot/grub/i386-pc/normal.mod' not found.\n"
        "Entering rescue mode...\ngrub rescue>",
        "GRUB stopped at its rescue prompt: 'error: file `/boot/grub/i386-pc/normal.mod' not found.', 'grub rescue>'",
    ),
    "GRUB without a menu": (
        "serial",
        "GNU GRUB  version 2.06-13+deb12u1\n   Minimal BASH-like line editing is supported. For the first word, TAB\n"
        "   lists possible command completions.\ngrub> ",
        "GRUB stopped at its prompt, for it found no menu: 'grub>'",
    ),
    "GRUB cannot read": ("screen", "GRUB Hard Disk Error", "GRUB could not read the disk: 'GRUB Hard Disk Error'"),
    "master boot record": (
        "screen",
        "Booting from Hard Disk...\nMissing operating system",
        "the disk's boot code found no system: 'Missing operating system'",
    ),
    "VMware's words": (
        "screen",
        "Operating System not found",
        "the disk's boot code found no system: 'Operating System not found'",
    ),
    "BOOTMGR": (
        "screen",
        "Booting from Hard Disk...\nBOOTMGR is missing\nPress Ctrl+Alt+Del to restart",
        "Windows's boot code did not find its loader: 'BOOTMGR is missing'",
    ),
    "NTLDR": (
        "screen",
        "NTLDR is missing\nPress any key to restart",
        "Windows's boot code did not find its loader: 'NTLDR is missing'",
    ),
    "kernel panic": (
        "serial",
        "[    1.950123][    T1] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\n"
        "[    1.950200][    T1] CPU: 0 PID: 1 Comm: swapper/0 Not tainted\n"
        "[    1.951000][    T1] ---[ end Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0) ]---",
        "the kernel panicked: '[ 1.950123][ T1] Kernel panic - not syncing: VFS: Unable to mount root fs on "
        "unknown-block(0,0)'",
    ),
    "kernel panic whose beginning has left the screen": (
        "screen",
        "[    5.798581] Kernel Offset: disabled\n[    5.799491] ---[ end Kernel panic - not syncing: Attempted to kill init! exit\n"
        "code=0x00000100 ]---",
        "the kernel panicked: '[ 5.799491] ---[ end Kernel panic - not syncing: Attempted to kill init! exit'",
    ),
    "kernel panic in characters that are not all read": (
        "screen",
        "[    4.\ufffd19372] Kernel panic - not syncing: \ufffdFS: Unable to \ufffdount root \ufffds",
        "the kernel panicked: '[ 4.\ufffd19372] Kernel panic - not syncing: \ufffdFS: Unable to \ufffdount root \ufffds'",
    ),
    "initramfs": (
        "serial",
        "Begin: Running /scripts/local-block ... done.\nGave up waiting for root file system device.  Common problems:\n"
        " - Boot args (cat /proc/cmdline)\nALERT!  UUID=0f3c does not exist.  Dropping to a shell!\n"
        "BusyBox v1.35.0 (Debian 1:1.35.0-4+b3) built-in shell (ash)\nEnter 'help' for a list of built-in commands.\n"
        "(initramfs) ",
        "the system stopped at the shell of its initramfs: 'ALERT! UUID=0f3c does not exist. Dropping to a shell!', "
        "'(initramfs)'",
    ),
    "dracut": (
        "serial",
        '[  195.6] dracut-initqueue[312]: Warning: /dev/mapper/rl-root does not exist\nGenerating "/run/initramfs/rdsosreport.txt"\n'
        'Entering emergency mode. Exit the shell to continue.\nType "journalctl" to view system logs.\n:/# ',
        "the system stopped in emergency mode: '[ 195.6] dracut-initqueue[312]: Warning: /dev/mapper/rl-root does not "
        "exist', 'Entering emergency mode. Exit the shell to continue.'",
    ),
    "systemd": (
        "serial",
        '[DEPEND] Dependency failed for data.mount - /data.\nYou are in emergency mode. After logging in, type "journalctl -xb" to\n'
        "view system logs.\nGive root password for maintenance\n(or press Control-D to continue): ",
        "the system stopped in emergency mode: '[DEPEND] Dependency failed for data.mount - /data.', "
        "'You are in emergency mode. After logging in, type \"journalctl -xb\" to'",
    ),
    "FreeBSD": (
        "serial",
        "List of GEOM managed disk devices:\nmountroot> ",
        "the kernel did not find its root file system: 'mountroot>'",
    ),
}


@pytest.mark.parametrize(("place", "text", "words"), FAILED.values(), ids=FAILED)
def test_a_failure_is_told_with_what_the_machine_said(place, text, words):
    assert told(text, place) == words


@pytest.mark.parametrize(("place", "text", "words"), FAILED.values(), ids=FAILED)
def test_no_failure_is_told_while_more_is_said(place, text, words):
    assert told(text, place, quiet=0.5) is None


def test_that_secure_boot_refuses_a_loader_is_undecided_and_all_else_a_failure():
    found = {name: heard(text, place) for name, (place, text, _) in FAILED.items()}
    undecided = [name for name, one in found.items() if one is not None and one.verdict != "failed"]
    assert undecided == ["secure boot"]


OOM = "Kernel panic - not syncing: System is deadlocked on memory"
DOUBTFUL = {
    "an initramfs without the driver": (FAILED["initramfs"][1], "serial", {"driver", "disk"}),
    "dracut without the driver": (FAILED["dracut"][1], "serial", {"driver", "disk"}),
    "a kernel without its root": (FAILED["kernel panic"][1], "serial", {"driver", "disk"}),
    "a disk that is not the one with the loader": (FAILED["SeaBIOS"][1], "firmware", {"disk"}),
    "a kernel without memory": (OOM, "serial", {"memory"}),
    "a kernel with a fault of its own": ("Kernel panic - not syncing: Fatal exception", "serial", set()),
}


@pytest.mark.parametrize(("text", "place", "doubts"), DOUBTFUL.values(), ids=DOUBTFUL)
def test_a_failure_tells_what_else_may_explain_it(text, place, doubts):
    found = heard(text, place)
    assert found is not None and set(found.doubts) == doubts


PROMPTS = ("UEFI shell", "GRUB rescue", "GRUB without a menu", "initramfs", "FreeBSD")


@pytest.mark.parametrize("name", PROMPTS)
def test_a_prompt_after_which_something_was_said_is_none(name):
    place, text, _ = FAILED[name]
    assert told(f"{text}boot\nLoading Linux 6.1.0 ...", place) is None
    assert told(f"{text}\nLoading Linux 6.1.0 ...", place) is None


QUOTED = {
    "a banner": "Debian GNU/Linux 12\nThis host shows Kernel panic - not syncing for a living.\npgtest1 login: ",
    "a log that is printed": "Nov 30 17:00:00 pgtest1 kernel: Kernel panic - not syncing: Fatal exception\n# ",
    "a command": "echo 'grub rescue>'",
    "a shell's name": "Starting UEFI Interactive Shell> script\nok",
    "a unit that is named so": "[  OK  ] Reached target emergency mode target.\npgtest1 login: ",
    "a monitor of backups": "alert: VM web1: BOOTMGR is missing",
    "a kernel that starts": "[    0.000000] Linux version 6.1.0-27-amd64\n[    0.000000] Command line: panic=10",
}


@pytest.mark.parametrize("text", QUOTED.values(), ids=QUOTED)
def test_what_a_guest_quotes_is_no_failure(text):
    assert told(text) is None


def test_what_a_firmware_says_counts_only_before_anything_of_the_guest_was_seen():
    _, text, _ = FAILED["OVMF"]
    assert told(text, evidence=True) is None
    _, panic, words = FAILED["kernel panic"]
    assert told(panic, evidence=True) == words


def test_a_serial_port_that_says_what_only_screens_do_is_not_believed():
    assert told(FAILED["BOOTMGR"][1], "serial") is None


def test_every_failure_says_where_it_is_known_from():
    assert all(failure.source and failure.basis and failure.quiet >= QUIET for failure in FAILURES)


HOSTILE = {
    "brackets": "] " * 256,
    "partitions": "BdsDxe: failed to load Boot0001 " + " from HD(x)/" * 40 + ": Access Denie",
    "times": "[" + " 1.1" * 120,
    "emergencies": "You are in " * 46,
}


@pytest.mark.parametrize("line", HOSTILE.values(), ids=HOSTILE)
def test_what_is_made_to_be_slow_to_read_is_not(line):
    """16 KiB of it, as much as is looked at; backtracking without a bound takes longer than any test may."""
    assert told("\n".join([line[:512]] * 32 + ["BdsDxe: No bootable option or device was found."])) is not None
