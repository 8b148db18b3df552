"""What was seen of a machine that was booted."""

from __future__ import annotations

from dataclasses import dataclass

from steps.values.drill import Accelerator, Evidence, Verdict


@dataclass(frozen=True)
class Seen:
    verdict: Verdict
    why: str
    """In a sentence, without a full stop."""
    evidence: tuple[Evidence, ...]
    seconds: float
    written: int
    """Bytes that the guest wrote."""
    picture: bytes | None
    """PNG of the console at the verdict."""
    serial: bytes
    """What its first serial port said: the beginning and the end of it, where it said too much."""
    accelerator: Accelerator
    accelerator_why: str
    firmware: str
    qemu: str
