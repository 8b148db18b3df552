"""What a look at many VMs knows of a repository beforehand, so that none of its nodes asks the host again."""

from __future__ import annotations

from typing import Protocol

from runner.hosts.host import Host
from runner.hosts.lock_file import LockText
from runner.hosts.remembering import known_beforehand
from runner.step.context import Answers
from steps.repository.vm_directory import VmDirectory


class Known(Protocol):
    """`steps.repository.whole`"""

    def vm(self, name: str) -> VmDirectory:
        """What is in the VM's directory of that name; nothing if it is not there."""

    def directories(self) -> dict[str, str]:
        """As `vm_place.every`."""

    def names(self, instance_uuid: str) -> list[str]:
        """Of the directories with that uuid in their names."""

    def adopted_as(self, instance_uuid: str) -> str | None:
        """As `identities.adopted_as`."""

    def lock(self, name: str) -> LockText | None:
        """Of the VM's directory of that name; None where it must be asked for."""


def known(host: Host, root: str) -> Known | None:
    """None where the host is to be asked."""
    found: Known | None = known_beforehand(host, _key(root))
    return found


def put(answers: Answers, host: Host, root: str, found: Known) -> None:
    """From now on a look at `host` with these answers asks nothing of the repository at `root`."""
    answers[host.name, *_key(root)] = found


def _key(root: str) -> tuple[str, str]:
    return ("repository", root)
