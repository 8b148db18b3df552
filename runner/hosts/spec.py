"""A host as the job file describes it: ``local``, or ``{ssh: user@server, …}``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator

from runner.base.model import HOW, FilePath, JobModel, Size
from runner.base.units import human_bytes
from runner.hosts.secrets import FromFile

SSH_PORT = 22
HIGHEST_PORT = 65535


class RoomLimits(JobModel):
    """How much of a host such work takes at once that says before how much: a machine that is booted. What is
    over waits."""

    memory: Annotated[Size, Field(gt=0)] | None = None
    """Bytes of its memory."""
    disk: Annotated[Size, Field(gt=0)] | None = None
    """Bytes of its temporary directory."""

    def shortfall(self, host: str, *, memory: int, disk: int) -> str:
        """Why so much is never granted, in a sentence; empty where it may be. `host`: the job's name of
        it."""
        for name, wanted, limit in (("memory", memory, self.memory), ("disk", disk, self.disk)):
            if limit is not None and wanted > limit:
                return (
                    f"{human_bytes(wanted)} of {name} are needed on host {host}, whose limits grant "
                    f"{human_bytes(limit)} to all runs together: raise hosts.{host}.limits.{name}, or take "
                    "less"
                )
        return ""


class HostLimits(RoomLimits):
    """How much runs take at once; what is over waits."""

    disks: Annotated[int, Field(ge=1)] | None = None
    """Disks of all VMs that are worked on with this host."""


class LocalSpec(JobModel):
    """This machine, which is always there as the host `local`."""

    limits: RoomLimits = RoomLimits()
    """What it bears at once, of all runs that name the same `slots`."""


class SshSpec(JobModel):
    """A machine behind sshd. One of `host-key` and `known-hosts` says which machine it must be; without
    either, ~/.ssh/known_hosts does."""

    ssh: str
    """``user@server`` or ``server``; an IPv6 address in brackets."""
    port: Annotated[int, Field(ge=1, le=65535)] = SSH_PORT
    """Of its sshd."""
    identity: Annotated[FromFile | None, HOW] = None
    """The private key; without it, the agent's and ~/.ssh's keys."""
    host_key: Annotated[str | None, HOW] = None
    """``ssh-ed25519 AAAA…``"""
    known_hosts: Annotated[FilePath | None, HOW] = None
    """A file of such lines, as ssh keeps it."""
    jump: Annotated[str | None, HOW] = None
    """``user@server[:port]`` to go through; its key must be in the same known-hosts."""
    ports: Annotated[str, HOW] = "10100-10200"
    """First and last TCP port of 127.0.0.1 there that exporters take where sshd forwards no unix sockets."""

    limits: Annotated[HostLimits, HOW] = HostLimits()
    """What it bears at once, of all runs that name the same `slots`."""

    @field_validator("ssh", "jump")
    @classmethod
    def _no_option(cls, value: str | None) -> str | None:
        # ssh takes a destination that starts with a dash for an option.
        if value is None:
            return None
        if not value or value.startswith("-") or any(character.isspace() for character in value):
            raise ValueError("write user@server")
        return value

    @field_validator("ports")
    @classmethod
    def _range(cls, value: str) -> str:
        numbers = [int(number) for number in value.split("-") if number.isascii() and number.isdigit()]
        if (
            len(numbers) != len(value.split("-"))
            or len(numbers) != 2
            or not 0 < numbers[0] <= numbers[1] <= HIGHEST_PORT
        ):
            raise ValueError("write the first and the last port, such as 10100-10200")
        return value

    @property
    def limited(self) -> str:
        """The field by which runs wait for each other on it; empty if none is set."""
        return "limits" if self.limits != HostLimits() else ""

    @property
    def port_range(self) -> range:
        first, last = map(int, self.ports.split("-"))
        return range(first, last + 1)

    @property
    def user(self) -> str | None:
        return self.ssh.rpartition("@")[0] or None

    @property
    def server(self) -> str:
        return self.ssh.rpartition("@")[2]

    def identity_value(self) -> str:
        """What makes it the same machine, however one logs in."""
        return f"{self.server}:{self.port}"


HostSpec = Literal["local"] | SshSpec
