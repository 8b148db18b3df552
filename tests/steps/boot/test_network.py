"""What a guest sends reaches nothing, and what it is asked comes through its ports alone."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from runner.base.units import MiB
from steps.boot import network
from steps.boot.errors import BootError
from steps.boot.start import start
from steps.values.drill import Expectation
from steps.watch.boot import boot
from tests.guests import small_linux
from tests.guests.boot_sectors import disk, sector
from tests.guests.debian_packages import NotToBeHad
from tests.hub import Hub
from tests.steps.boot.machines import CAPACITY, machine, needs_qemu, request

ADDRESS = "192.0.2.10/24"


def netdevs(cards: int, ports: tuple[int, ...] = (), address: str | None = None) -> list[str]:
    return list(network.arguments(machine(cards=cards), ports, address))[1::2]


def test_every_card_has_a_back_end_without_any_way_out():
    found = netdevs(3, (22,))
    assert [each.split(",")[1] for each in found] == ["id=net-0", "id=net-1", "id=net-2"]
    assert all("restrict=on" in each.split(",") for each in found)
    assert len({each.split("net=")[1].split(",")[0] for each in found}) == 3, "answers leave by the card they came by"


def test_ports_lead_to_the_first_card_from_loopback():
    first, second = netdevs(2, (22, 443))
    assert first.endswith("hostfwd=tcp:127.0.0.1:0-:22,hostfwd=tcp:127.0.0.1:0-:443")
    assert "hostfwd" not in second


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (ADDRESS, "net=192.0.2.0/24,host=192.0.2.1,dns=192.0.2.2,dhcpstart=192.0.2.10"),
        ("192.0.2.1/24", "net=192.0.2.0/24,host=192.0.2.2,dns=192.0.2.3,dhcpstart=192.0.2.1"),
        ("198.51.100.9/29", "net=198.51.100.8/29,host=198.51.100.10,dns=198.51.100.11,dhcpstart=198.51.100.9"),
        ("192.0.2.9/30", "net=192.0.2.8/29,host=192.0.2.10,dns=192.0.2.11,dhcpstart=192.0.2.9"),
        ("192.0.2.9/31", "net=192.0.2.8/29,host=192.0.2.8,dns=192.0.2.10,dhcpstart=192.0.2.9"),
        ("10.1.2.3/8", "net=10.0.0.0/8,host=10.0.0.1,dns=10.0.0.2,dhcpstart=10.1.2.3"),
    ],
)
def test_a_guest_finds_its_own_network(address: str, expected: str):
    first, second = netdevs(2, (), address)
    assert expected in first
    assert first.split("net=")[1].split(".")[0] != second.split("net=")[1].split(".")[0], "the other card is elsewhere"


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("192.0.2.10", "a network of /32 cannot be made"),
        ("192.0.2.0/24", "is the address of a network"),
        ("192.0.2.255/24", "is the address of a network"),
        ("fd00::1/64", "is no IPv4 address with its prefix"),
        ("192.0.2.10/24,hostfwd=tcp::22-:22", "is no IPv4 address with its prefix"),
    ],
)
def test_an_address_that_cannot_be_had_is_a_sentence(address: str, message: str):
    with pytest.raises(BootError, match=message):
        netdevs(1, (), address)


def test_ports_of_a_machine_without_a_card_are_a_sentence():
    with pytest.raises(BootError, match="pgtest1 has no network adapter"):
        netdevs(0, (22,))


@needs_qemu
@pytest.mark.parametrize("address", [None, ADDRESS, "192.0.2.9/30", "192.0.2.9/31", "10.1.2.3/8"])
def test_qemu_takes_these_networks_and_says_which_ports_it_took(hub: Hub, tmp_path: Path, address: str | None):
    source = disk(tmp_path / "disk.raw", sector("hangs"), CAPACITY)
    ctx = hub.context()
    expect = (Expectation(port=22, banner="SSH-"), Expectation(port=443, banner="HTTP"))
    asked = request(machine(cards=3), {2000: str(source)}, *expect, address=address)
    with start(ctx, ctx.host("hub"), asked) as running:
        assert set(running.ports) == {22, 443}
        assert len(set(running.ports.values())) == 2


@needs_qemu
def test_a_guest_that_dials_out_reaches_nothing_and_is_reached(hub: Hub, tmp_path: Path):
    """At the host's own alias in its network, by TCP."""
    try:
        source = small_linux.copied(small_linux.disk(), tmp_path / "disk.raw")
    except NotToBeHad as missing:
        pytest.skip(str(missing))
    with listening() as (port, connections):
        small_linux.told(source, f"address {ADDRESS}", f"dial 192.0.2.1:{port} 192.0.2.2:{port} 192.0.2.10:22")
        expect = (Expectation(serial="DIALLED", within=120), Expectation(port=22, banner="SSH-", within=120))
        of = machine(memory=256 * MiB)
        of = of.model_copy(update={"disks": (of.disks[0].model_copy(update={"capacity": small_linux.SIZE}),)})
        ctx = hub.context()
        found = boot(ctx, ctx.host("hub"), request(of, {2000: str(source)}, *expect, address=ADDRESS))
    assert found.verdict == "passed", found.why
    assert not connections
    reached = [line for line in found.serial.decode().splitlines() if line.startswith("REACHED")]
    assert reached == ["REACHED 192.0.2.10:22"], "it can dial, and reaches itself alone"


@contextmanager
def listening() -> Iterator[tuple[int, list[object]]]:
    """A port of this machine's loopback, and who connected to it."""
    connections: list[object] = []

    def accept() -> None:
        with suppress(OSError):  # it was closed
            while True:
                connection, client = server.accept()
                connections.append(client)
                connection.close()

    with socket.create_server(("127.0.0.1", 0)) as server:
        accepting = threading.Thread(target=accept)
        accepting.start()
        yield server.getsockname()[1], connections
        server.shutdown(socket.SHUT_RDWR)
        accepting.join(10)
