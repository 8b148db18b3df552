from __future__ import annotations

from tests.sshd import ssh_host, sshd

__all__ = ["ssh_host", "sshd"]
