"""From a host as the job file describes it to a host one can use."""

from __future__ import annotations

from collections.abc import Callable
from importlib import import_module

from runner.hosts.host import Host
from runner.hosts.local import LocalHost
from runner.hosts.spec import HostSpec, SshSpec

SSH = "runner.hosts.ssh.host"
"""Fabric and all that is below it take a tenth of the memory and of the start of a plan that connects
nowhere: they are imported with the first host that needs them."""


def connect(name: str, spec: HostSpec, warn: Callable[[str], None] = lambda text: None) -> Host:
    """The host, not yet connected to: that happens at its first use. The caller closes it. `warn` is told of
    what is odd there."""
    if not isinstance(spec, SshSpec):
        return LocalHost(name)
    behind_sshd: Host = import_module(SSH).SshHost(name, spec, warn)
    return behind_sshd
