"""What a drill expects of a guest, what it may take, and what came of it."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from runner.base.model import Duration, JobModel, Model, Size
from runner.base.units import GiB
from steps.vsphere.vm_spec import Change

Verdict = Literal["passed", "undecided", "failed"]
"""``passed``: all that was expected was seen. ``failed``: a boot failure that can be told. Else
``undecided``."""

Accelerator = Literal["kvm", "tcg"]

AcceleratorChoice = Literal["auto", "kvm", "tcg"]


class Expectation(JobModel):
    """Positive evidence that a guest is up: one of `serial`, `port` and `agent`."""

    serial: str | None = None
    """Text that its first serial port says"""
    port: Annotated[int, Field(ge=1, le=65535)] | None = None
    """A TCP port of the guest"""
    banner: str = ""
    """How what that port says begins: `SSH-`. That it accepts a connection proves nothing"""
    send: str = ""
    """What is sent there first, to a service that does not speak first"""
    agent: Literal[True] | None = None
    """QEMU's guest agent answers"""
    within: Duration | None = None
    """By when, since the start; without it five minutes with KVM, and twenty without"""

    @model_validator(mode="after")
    def _is_one(self) -> Self:
        if sum(one is not None for one in (self.serial, self.port, self.agent)) != 1:
            raise ValueError("write one of serial, port and agent")
        if (self.port is None) == bool(self.banner) or (self.send and self.port is None):
            raise ValueError("write port and banner together: {port: 22, banner: SSH-}")
        if self.serial == "":
            raise ValueError("write what its serial port says, such as {serial: 'login:'}")
        return self

    @property
    def words(self) -> str:
        """``the serial port says 'login:'``"""
        if self.serial is not None:
            return f"the serial port says {self.serial!r}"
        if self.port is not None:
            return f"port {self.port} answers with {self.banner!r}"
        return "the guest agent answers"


class MachineLimits(JobModel):
    """What a drill may take of its host."""

    memory: Size = 2 * GiB
    """Of the guest at most; it gets what its VM had if that is less"""
    cpus: Annotated[int, Field(ge=1, le=64)] = 2
    """Of the guest at most"""
    overlay: Size = 8 * GiB
    """How much the guest may write, of all its disks together"""


class Evidence(Model):
    """What came of one expectation."""

    expected: str
    """In words: ``port 22 answers with 'SSH-'``"""
    within: float
    """By when it was to be seen, in seconds since the start"""
    seen: str | None
    """What was seen, one line of 200 characters at most; None: nothing by then"""
    after: float | None
    """Seconds since the start"""


class Drilled(Model):
    """What came of a drill. Its picture and the guest's serial log lie beside the point's manifest."""

    source: str
    """The point: VM/POINT"""
    path: str
    """Absolute path of the point's directory"""
    repository_host: str
    """The job's name of the host that is on"""
    host: str
    """The job's name of the host that it was booted on"""
    verdict: Verdict
    """What it came to"""
    why: str
    """In a sentence, without a full stop"""
    evidence: tuple[Evidence, ...]
    """Of each expectation"""
    accelerator: Accelerator
    """What ran the guest's instructions"""
    accelerator_why: str = ""
    """Why it was not KVM, in words"""
    firmware: str
    """``BIOS (SeaBIOS)``, ``EFI (OVMF), secure boot``"""
    qemu: str
    """Its version"""
    seconds: float
    """From the start to the verdict"""
    written: int
    """Bytes that the guest wrote"""
    changes: tuple[Change, ...] = ()
    """What was otherwise than the VM had it"""
    not_tried: tuple[str, ...] = ()
    """What the drill says nothing about, in sentences"""
    picture: str | None = None
    """Name of the PNG of the console; None if there is none"""
    serial_log: str | None = None
    """Name of the serial log; None if the guest said nothing there"""
