"""What a drill expects of a guest, what it may take, and what came of it."""

from __future__ import annotations

import ipaddress
from typing import Annotated, Literal, Self

from pydantic import Field, field_validator, model_validator

from runner.base.model import Duration, HostName, JobModel, Model, Size
from runner.base.units import GiB, MiB

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

    memory: Annotated[Size, Field(ge=64 * MiB)] = 2 * GiB
    """Of the guest at most; it gets what its VM had if that is less"""
    cpus: Annotated[int, Field(ge=1, le=64)] = 2
    """Of the guest at most"""
    overlay: Annotated[Size, Field(ge=16 * MiB)] = 8 * GiB
    """How much the guest may write, of all its disks together"""


class DrillOptions(JobModel):
    """How points are drilled: ``{expect: [{serial: "login:"}], host: lab1, limits: {memory: 4 GiB}}``"""

    expect: tuple[Expectation, ...] = ()
    """What must be seen, all of it, for a pass. Nothing: whatever is seen, it is no pass"""
    within: Duration | None = None
    """By when, since the start, for what says no `within` of its own; without it five minutes with KVM, and
    twenty without"""
    host: HostName | None = None
    """Where it is booted; without it on the repository host if that has QEMU, else on this machine"""
    limits: MachineLimits = MachineLimits()
    """What it may take there"""
    accelerator: AcceleratorChoice = "auto"
    """`kvm`, `tcg` (QEMU alone, 10 to 50 times slower), or `auto`: KVM where a guest really runs with it"""
    guest_address: str | None = None
    """The guest's own static address, as `192.0.2.10/24`, for the ports that are expected; without it the
    guest asks DHCP"""

    @field_validator("guest_address")
    @classmethod
    def _is_an_address(cls, value: str | None) -> str | None:
        if value is not None:
            try:
                address = ipaddress.IPv4Interface(value)
            except ValueError:
                raise ValueError("write an IPv4 address with its prefix, such as 192.0.2.10/24") from None
            if "/" not in value or not 4 <= address.network.prefixlen <= 31:
                raise ValueError("write an IPv4 address with its prefix, such as 192.0.2.10/24")
        return value

    @property
    def expected(self) -> tuple[Expectation, ...]:
        """`expect`, each with its own `within` where any is told."""
        return tuple(
            one if one.within is not None else one.model_copy(update={"within": self.within})
            for one in self.expect
        )


class DrillPolicy(DrillOptions):
    """``{every: 7d, expect: [{serial: "login:"}]}``: when a backup's new point is drilled, and how."""

    every: Duration = 0.0
    """How old the VM's newest passed drill may become before a new point is drilled; 0: each is"""


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
    accelerator: Accelerator | None
    """What ran the guest's instructions; None: it was not booted, and this and what follows is not known"""
    accelerator_why: str = ""
    """Why it was not KVM, in words"""
    firmware: str = ""
    """``BIOS (SeaBIOS)``, ``EFI (OVMF), secure boot``"""
    qemu: str = ""
    """Its version"""
    seconds: float = 0.0
    """From the start to the verdict"""
    written: int = 0
    """Bytes that the guest wrote"""
    changes: tuple[str, ...] = ()
    """What was otherwise than the VM had it, in sentences"""
    not_tried: tuple[str, ...] = ()
    """What its verdict says nothing of: ``what is on Hard disk 2``"""
    picture: str | None = None
    """Path of the PNG of the console, beside the manifest; None if there is none"""
    serial_log: str | None = None
    """Path of the serial log, beside the manifest; None if the guest said nothing there"""
    picture_here: str | None = None
    """Path of a copy of the picture on the machine of the run, for its reports"""
