"""Why a machine could not be started or looked at."""

from __future__ import annotations

from runner.base.errors import SendenseError


class BootError(SendenseError):
    """It says nothing about the machine's disks."""
