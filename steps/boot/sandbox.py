"""What QEMU denies itself with seccomp(2) (documented: qemu(1), -sandbox): a guest that breaks out of its
devices still starts no program and gets no other user's rights."""

from __future__ import annotations

SANDBOX = ("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
