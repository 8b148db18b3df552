"""Boot loaders that secure boot lets start: Debian's shim, which Microsoft signed, and its GRUB, which Debian signed.
Unpacked below .cache, and never installed."""

from __future__ import annotations

import fcntl
from collections.abc import Mapping
from pathlib import Path

from tests.guests.debian_packages import unpack

CACHE = Path(__file__).parent.parent.parent / ".cache" / "signed-loaders"
PACKAGES = ("shim-signed", "grub-efi-amd64-signed")


def files(script: str) -> Mapping[str, bytes]:
    """For `tests.guests.efi_disks.disk`, where Debian puts them; GRUB runs `script`. Raises NotToBeHad."""
    root = _unpacked()
    return {
        "EFI/debian/shimx64.efi": (root / "usr/lib/shim/shimx64.efi.signed").read_bytes(),
        "EFI/debian/grubx64.efi": (root / "usr/lib/grub/x86_64-efi-signed/grubx64.efi.signed").read_bytes(),
        "EFI/debian/grub.cfg": script.encode(),
    }


def _unpacked() -> Path:
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        # Test processes run beside each other: one fetches them.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not (root := CACHE / "root").exists():
            partial = CACHE / "root.partial"
            partial.mkdir(exist_ok=True)
            unpack(PACKAGES, partial)
            partial.rename(root)
    return root
