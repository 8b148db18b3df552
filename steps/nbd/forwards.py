"""Which forwards the sshd of a host carries: to unix sockets, to TCP ports alone, or none.

sshd says the same of a unix socket that it may not connect to as of one nobody listens on (tried with OpenSSH
9.2), so an exporter of nothing is started there and connected to. AllowStreamLocalForwarding no,
AllowTcpForwarding no and any PermitOpen each stop forwards to unix sockets (tried); PermitOpen still lets
those to its ports through.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from contextlib import suppress
from typing import Literal

from runner.base.errors import HostError
from runner.base.render import render_report
from runner.base.waiting import until
from runner.events.check_results import Observation, good, noted, wrong
from runner.hosts.host import Forwards, Host
from runner.hosts.lending import LendingForbidden
from runner.hosts.tunnel import carried, explain
from runner.step.context import Context
from steps.copy.endpoint import ConnectFailed
from steps.copy.nbd import probe
from steps.nbd.announced import Announced
from steps.nbd.handshake import ATTEMPT
from steps.qemu import nbd_server

ForwardKind = Literal["sockets", "ports"]

START_TIMEOUT = 15.0
"""Seconds for an exporter of nothing to listen."""

LAST_WORDS = 2.0
"""Seconds for ssh to say why it closed a connection."""

_OF_KEY = "where the key's line in authorized_keys has `restrict`, add `port-forwarding`"
_REMEDY = f"add these lines to its sshd_config; {_OF_KEY}"

_NOTHING = "nothing"
"""The export's name."""


def _qemu_nbd(socket: str) -> tuple[str, ...]:
    return nbd_server.null_argv(socket, _NOTHING)


def _nbdkit(socket: str) -> tuple[str, ...]:
    return ("nbdkit", "--foreground", "--readonly", f"--unix={socket}", "null", "size=512")


class ForwardsForbidden(HostError):
    """`stanza`: lines for the host's sshd_config that would allow what is needed."""

    def __init__(self, host: Host) -> None:
        self.stanza = stanza(host)
        lines = ", ".join(f"`{line.strip()}`" for line in self.stanza if not line.startswith("#"))
        self.found = (
            f"the sshd of {host.name} forwards neither unix sockets nor port {host.ports.start} for user "
            f"{host.account}"
        )
        super().__init__(f"{self.found}: add to its sshd_config {lines}, and reload it; {_OF_KEY}")


def stanza(host: Host, *, ports: bool = False, lends: bool = False) -> tuple[str, ...]:
    """For sshd_config(5): forwards to unix sockets, or to the host's `ports` only; `lends`: also unix sockets
    there that lead here. A client that sshd has not
    heard of for five minutes is gone, as for our locks (`runner.hosts.ssh.lock.RELEASE_AFTER`); by itself
    sshd asks nobody, and waits for hours."""
    numbers = list(host.ports) if ports else []
    names = {"host": host.name, "user": host.account, "ports": numbers, "lends": lends}
    text = render_report("sshd_config.j2", names)
    return tuple(line for line in text.splitlines() if line.strip())


def kind_for(ctx: Context, host: Host) -> ForwardKind:
    """How exporters on `host` can be reached, tried once a run. Raises ForwardsForbidden, HostError,
    ToolMissing."""
    if host.local:
        return "sockets"
    return ctx.once(("forwards", host.name), lambda: _try(ctx, host))


def examine(ctx: Context, host: Host) -> Observation:
    subject, looked_at = f"host {host.name}", "forwards through its sshd"
    try:
        if kind_for(ctx, host) == "ports":
            tried = f"{exposed(host)}; only the first of these ports was tried"
            return noted(
                subject,
                looked_at,
                tried,
                "allow unix sockets, or see that PermitOpen has every port",
                lines=stanza(host),
            )
        return good(subject, looked_at, "none is needed" if host.local else "unix sockets can be reached")
    except ForwardsForbidden as error:
        return wrong(subject, looked_at, error.found, _REMEDY, lines=error.stanza)


def examine_sockets(ctx: Context, host: Host) -> Observation:
    """For nbdkit, which listens on unix sockets only: who can connect to it reads the disk."""
    subject, looked_at = f"host {host.name}", "forwards to unix sockets through its sshd"
    if ctx.once(("forwards to nbdkit", host.name), lambda: _carries_sockets(ctx, host, _nbdkit)):
        return good(subject, looked_at, "unix sockets can be reached")
    found = (
        f"the sshd of {host.name} forwards no unix sockets for user {host.account}, which nbdkit there "
        "listens on"
    )
    return wrong(subject, looked_at, found, _REMEDY, lines=stanza(host))


def examine_lending(ctx: Context, host: Host) -> Observation:
    """For a host that is to read there what only we can reach, see `Host.lend`. Tried once a run."""
    subject, looked_at = f"host {host.name}", "unix sockets there that lead here"
    if host.local:
        return good(subject, looked_at, "none is needed")
    if (forbidden := ctx.once(("lending", host.name), lambda: _lending_forbidden(host))) is None:
        return good(subject, looked_at, "its sshd makes them")
    remedy = _REMEDY
    return wrong(subject, looked_at, forbidden.found, remedy, lines=stanza(host, lends=True))


def _lending_forbidden(host: Host) -> LendingForbidden | None:
    try:
        with host.lend(("/nowhere",)):
            return None
    except LendingForbidden as error:
        return error


def exposed(host: Host) -> str:
    ports = f"{host.ports.start}-{host.ports.stop - 1}"
    return (
        f"the sshd of {host.name} forwards no unix sockets, so exporters listen on 127.0.0.1 ports {ports} "
        "there, and while a run lives every user of that host can read and write the images it makes"
    )


def _try(ctx: Context, host: Host) -> ForwardKind:
    nbd_server.QEMU_NBD.require(ctx, host)
    if _carries_sockets(ctx, host, _qemu_nbd):
        return "sockets"
    if _carries_ports(ctx, host):
        return "ports"
    raise ForwardsForbidden(host)


def _carries_sockets(ctx: Context, host: Host, argv: Callable[[str], tuple[str, ...]]) -> bool:
    """`argv`: the command line of an exporter of nothing on a socket."""
    with host.tempdir() as directory:
        socket = posixpath.join(directory, "nbd")
        child = Announced(host, argv(socket), socket)
        try:
            _await_socket(ctx, child)
            with host.forward((socket,)) as forwards:
                return _answers(ctx, host, forwards)
        finally:
            child.stop()


def _await_socket(ctx: Context, child: Announced) -> None:
    def failure() -> HostError:
        said = " ".join(child.stderr().split()) or "it printed nothing"
        return HostError(
            f"{child.argv[0]} on {child.host} does not listen on a unix socket in /tmp there: {said}"
        )

    def is_there() -> bool:
        if not (there := child.ready()) and child.poll() is not None:
            raise failure()
        return there

    until(is_there, stop=ctx.stop, timeout=START_TIMEOUT, late=failure)


def _answers(ctx: Context, host: Host, forwards: Forwards) -> bool:
    """Raises HostError if ssh itself failed."""
    uri = nbd_server.uri(forwards.sockets[0], _NOTHING)
    for _ in range(2):  # a socket is there a moment before its server listens
        try:
            probe(uri, ATTEMPT, stop=ctx.stop)
            return True
        except ConnectFailed:
            _await_words(ctx, host, forwards)
    return False


def _carries_ports(ctx: Context, host: Host) -> bool:
    """Of the range's first port: nobody needs to listen there, sshd refuses before it tries."""
    with host.forward((f"127.0.0.1:{host.ports.start}",)) as forwards:
        try:
            probe(nbd_server.uri(forwards.sockets[0], _NOTHING), LAST_WORDS, stop=ctx.stop)
        except ConnectFailed:
            _await_words(ctx, host, forwards)
            # Silence: somebody listens there who is no NBD server.
            return carried(forwards) is not False
        return True


def _await_words(ctx: Context, host: Host, forwards: Forwards) -> None:
    def has_spoken() -> bool:
        if carried(forwards) is not None:
            return True
        for child in forwards.children:
            if child.poll() is not None and (why := explain(host.name, forwards)) is not None:
                raise why
        return False

    with suppress(TimeoutError):  # silence is an answer too
        until(has_spoken, stop=ctx.stop, timeout=LAST_WORDS)
