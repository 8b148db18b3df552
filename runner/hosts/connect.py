"""From a host as the job file describes it to a host one can use."""

from __future__ import annotations

from collections.abc import Callable

from runner.hosts import Host
from runner.hosts.local import LocalHost
from runner.hosts.spec import HostSpec, SshSpec
from runner.hosts.ssh.host import SshHost


def connect(name: str, spec: HostSpec, warn: Callable[[str], None] = lambda text: None) -> Host:
    """The host, not yet connected to: that happens at its first use. The caller closes it. `warn` is told of what is odd there."""
    return SshHost(name, spec, warn) if isinstance(spec, SshSpec) else LocalHost(name)
