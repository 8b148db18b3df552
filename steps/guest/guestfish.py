"""libguestfs as a machine has it: its shell stands for all of it, which Debian cuts into several packages."""

from __future__ import annotations

from runner.step.tools import Program

PACKAGES = "libguestfs-tools python3-guestfs linux-image-amd64"
"""Debian's, without their recommended ones; the appliance is made of the machine's own kernel and
programs."""

GUESTFISH = Program(
    program="guestfish",
    asks=("guestfish", "--version"),
    answers=r"^guestfish (\d+\.\d+\S*)",
    minimum=(1, 22),  # drives over NBD (guestfs-release-notes-1.22(1))
    package=f"{PACKAGES} (--no-install-recommends)",
    purpose="files out of restore points",
)
