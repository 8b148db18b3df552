"""From a host as the job file describes it to a host one can use."""

from __future__ import annotations

import threading
from collections.abc import Callable
from contextlib import ExitStack
from importlib import import_module
from types import TracebackType

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


class OpenHosts:
    """Of one command: each host is connected to once, however often the command opens what works there. Safe
    from any thread; leaving it closes them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[str, tuple[HostSpec, Host]] = {}
        self._stack = ExitStack()

    def __enter__(self) -> OpenHosts:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.close()

    def host(self, name: str, spec: HostSpec, warn: Callable[[str], None]) -> Host:
        """As `connect`; it stays open. It has the `warn` of the first call."""
        with self._lock:
            known = self._open.get(name)
            if known is not None and known[0] == spec:
                return known[1]
            host = connect(name, spec, warn)
            self._stack.callback(host.close)
            self._open[name] = (spec, host)
            return host
