"""qemu-system-x86_64: a whole machine (qemu(1))."""

from __future__ import annotations

from runner.step.tools import Program

QEMU_SYSTEM = Program(
    program="qemu-system-x86_64",
    asks=("qemu-system-x86_64", "--version"),
    answers=r"^QEMU emulator version (\d+\.\d+\S*)",
    # `-action` came with 6.0, screendump as PNG with 7.1 (QEMU's ChangeLogs); Debian 12 has 7.2.
    minimum=(7, 1),
    package="qemu-system-x86",
    purpose="restore points that are booted here",
)
