"""Which forwards an sshd carries, tried with a real one under each setting; an exporter then takes the way that is there."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from runner.base.units import MiB
from runner.hosts import process
from runner.hosts.connect import connect
from runner.hosts.host import Host
from runner.hosts.lending import LendingForbidden
from runner.hosts.local import LocalHost
from runner.step.step import Empty
from steps.backup.open_tunnel import OpenTunnel, OpenTunnelIn, OpenTunnelLive
from steps.backup.start_nbd import StartNbd, StartNbdIn
from steps.copy.nbd import probe
from steps.lab.sshd import Sshd
from steps.nbd import forwards
from steps.nbd.announced import Announced
from steps.nbd.exporter import ExporterError
from steps.qemu import nbd_server
from tests.eventually import eventually
from tests.hub import Hub, hub_on

pytestmark = pytest.mark.slow


@contextmanager
def hub(directory: Path, options: dict[str, str], ports: str) -> Iterator[tuple[Hub, Host, Sshd]]:
    sshd = Sshd(directory / "sshd", options)
    sshd.start()
    host = connect("hub", sshd.spec.model_copy(update={"ports": ports}))
    try:
        with hub_on(host, str(directory / "repository"), directory) as made:
            yield made, host, sshd
    finally:
        host.close()
        sshd.stop()


@pytest.fixture
def taken() -> Iterator[int]:
    """A port that somebody listens on who takes no part in this."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        yield listener.getsockname()[1]


def free_ports(count: int) -> tuple[int, int]:
    """First and last of as many ports in a row, free a moment ago."""
    for first in range(20000, 32000, count):
        with socket.socket() as trial:
            if trial.connect_ex(("127.0.0.1", first)) and trial.connect_ex(("127.0.0.1", first + count - 1)):
                return first, first + count - 1
    raise AssertionError("no free ports")


CASES = {
    "nothing said": ({}, "sockets"),
    "no unix sockets": ({"AllowStreamLocalForwarding": "no"}, "ports"),
    "only the ports": ({"PermitOpen": "127.0.0.1:{first}"}, "ports"),
    "another port": ({"PermitOpen": "127.0.0.1:1"}, None),
    "no TCP": ({"AllowTcpForwarding": "no"}, None),
    "no forwards": ({"DisableForwarding": "yes"}, None),
}


@pytest.mark.parametrize(("options", "way"), CASES.values(), ids=CASES.keys())
def test_the_kind_of_forwards_is_found_by_trying(tmp_path: Path, options: dict[str, str], way: str | None) -> None:
    first, last = free_ports(3)
    options = {name: value.format(first=first) for name, value in options.items()}
    with hub(tmp_path, options, f"{first}-{last}") as (made, host, _):
        if way is not None:
            assert forwards.kind_for(made.context(), host) == way
            return
        with pytest.raises(forwards.ForwardsForbidden) as raised:
            forwards.kind_for(made.context(), host)
        assert f"port {first}" in raised.value.message and "`PermitOpen any`" in raised.value.message
        assert "\n" not in raised.value.message


@pytest.mark.parametrize("ports", [False, True], ids=["for unix sockets", "for ports"])
def test_the_stanza_opens_an_sshd_that_forbids_everything(tmp_path: Path, ports: bool) -> None:
    first, last = free_ports(3)
    closed = {"PermitOpen": "none", "AllowStreamLocalForwarding": "no", "AllowTcpForwarding": "no"}
    with hub(tmp_path, closed, f"{first}-{last}") as (made, host, sshd):
        comment, match, *lines = forwards.stanza(host, ports=ports)
        assert comment.startswith("# ")
        sshd.stop()
        opened = Sshd(tmp_path / "sshd", closed | {"Match": "\n".join((match.removeprefix("Match "), *lines))})
        opened.start()
        try:
            assert forwards.kind_for(made.context(), host) == ("ports" if ports else "sockets")
        finally:
            opened.stop()


LENDING = {
    "nothing said": ({}, True),
    "only there": ({"AllowStreamLocalForwarding": "remote"}, True),
    "only here": ({"AllowStreamLocalForwarding": "local"}, False),
    "no unix sockets": ({"AllowStreamLocalForwarding": "no"}, False),
    "no TCP": ({"AllowTcpForwarding": "no"}, False),
    "no forwards": ({"DisableForwarding": "yes"}, False),
}


@pytest.mark.parametrize(("options", "lends"), LENDING.values(), ids=LENDING.keys())
def test_whether_sockets_are_lent_is_found_by_trying(tmp_path: Path, options: dict[str, str], lends: bool) -> None:
    first, last = free_ports(1)
    with hub(tmp_path, options, f"{first}-{last}") as (made, host, sshd):
        found = forwards.examine_lending(made.context(), host)
        assert (found.state == "good") is lends
        if lends:
            return
        with (
            pytest.raises(LendingForbidden, match="`AllowStreamLocalForwarding yes`, and reload it"),
            host.lend(("/x",)),
        ):
            pass
        match, *lines = found.lines[1:]
        sshd.stop()
        opened = Sshd(tmp_path / "sshd", options | {"Match": "\n".join((match.removeprefix("Match "), *lines))})
        opened.start()
        try:
            with host.lend(("/x",)) as (there,):
                assert host.exists(there)
        finally:
            opened.stop()


@pytest.mark.parametrize("options", [{}, {"PermitTTY": "no"}], ids=["", "without a terminal"])
def test_an_image_is_read_on_a_third_host_through_a_socket_that_is_lent_to_it(
    tmp_path: Path, options: dict[str, str]
) -> None:
    image = tmp_path / "disk.raw"
    image.write_bytes(os.urandom(4 * MiB) + bytes(4 * MiB))
    first, last = free_ports(1)
    with hub(tmp_path, options, f"{first}-{last}") as (_, host, _sshd), process.temporary_directory() as directory:
        exporter = Announced(LocalHost(), nbd_argv(f"{directory}/nbd", str(image)), f"{directory}/nbd")
        try:
            assert eventually(exporter.ready)
            with host.lend((f"{directory}/nbd",)) as (there,):
                compare = ("qemu-img", "compare", "-f", "raw", "-F", "raw", nbd_server.uri(there, "disk"), str(image))
                assert host.run(compare).stdout == b"Images are identical.\n"
        finally:
            exporter.stop()


def nbd_argv(socket: str, image: str) -> tuple[str, ...]:
    return ("qemu-nbd", "-r", "-t", "-f", "raw", "-x", "disk", "-k", socket, image)


def test_an_exporter_takes_a_free_port_of_the_range_and_is_reached_through_it(tmp_path: Path, taken: int) -> None:
    ports = f"{taken - 1}-{taken + 2}"
    with hub(tmp_path, {"AllowStreamLocalForwarding": "no"}, ports) as (made, _, _sshd):
        image = made.image()
        ctx = made.context("export")
        with ctx.closing:
            export = StartNbd().run(ctx, StartNbdIn(image=image), Empty())
            assert export.socket == ""
            assert export.port in {taken - 1, taken + 1, taken + 2}
            assert export.nbd_targets == f"2000:nbd://127.0.0.1:{export.port}/{export.export}"
            assert probe(f"nbd://127.0.0.1:{export.port}/{export.export}", 5.0).size == image.capacity
            assert "every user of that host can read and write" in made.warnings[0]
            tunnelled = made.context("tunnel")
            with tunnelled.closing:
                tunnel = OpenTunnel().run(tunnelled, OpenTunnelIn(connections=2), OpenTunnelLive(export=export))
                assert probe(tunnel.uris[0], 5.0).size == image.capacity
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", export.port), 1.0)


def test_a_range_without_a_free_port_is_a_sentence(tmp_path: Path, taken: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forwards, "LAST_WORDS", 0.2)
    with hub(tmp_path, {"AllowStreamLocalForwarding": "no"}, f"{taken}-{taken}") as (made, _, _sshd):
        ctx = made.context("export")
        with ctx.closing, pytest.raises(ExporterError, match="widen `ports` of the host"):
            StartNbd().run(ctx, StartNbdIn(image=made.image()), Empty())
