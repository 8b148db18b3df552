"""A network that ends at QEMU: what a guest sends reaches nothing, and what it is asked comes through ports
of its host's loopback alone.

With `restrict=on` QEMU's user networking answers DHCP and ARP, and throws all else away but the replies to
connections that came through `hostfwd` (documented: qemu(1), -netdev user; libslirp, `restricted`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv4Network
from itertools import islice

from runner.base.printable import printable
from steps.boot.errors import BootError
from steps.values.drill import Expectation
from steps.values.machine import Machine

_FORWARD = re.compile(
    r"^\s*TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s+[\d.]+\s+(\d+)\s", re.MULTILINE
)
"""A line of ``info usernet`` (QEMU 7.2)."""

_OURS = IPv4Network("10.0.0.0/8")
_OTHERS = IPv4Network("172.16.0.0/12")
"""Where networks are taken from for cards whose address nobody said."""


def arguments(machine: Machine, ports: Sequence[int], guest_address: str | None) -> Iterator[str]:
    """Of QEMU: a back end ``net-<place>`` for each card. The first one has the guest's address, and `ports`
    lead to it. Raises BootError for ports of a machine without a card, and for an address that cannot be had.
    """
    if ports and not machine.cards:
        raise BootError(
            f"{printable(machine.name)} has no network adapter, so nothing can be expected of its ports"
        )
    said = None if guest_address is None else _interface(guest_address)
    free = _free_networks(said)
    for place in range(len(machine.cards)):
        options = ["user", f"id=net-{place}", "restrict=on", "ipv6=off"]
        options += _around(said) if said and place == 0 else _leased(next(free))
        if place == 0:
            # QEMU takes a port that is free and says which: `forwarded`.
            options += [f"hostfwd=tcp:127.0.0.1:0-:{port}" for port in ports]
        yield from ("-netdev", ",".join(options))


def ports(expect: Sequence[Expectation]) -> tuple[int, ...]:
    """The TCP ports of the guest that something is expected of."""
    return tuple(sorted({each.port for each in expect if each.port is not None}))


def forwarded(usernet: str) -> Mapping[int, int]:
    """Port of the guest → port of 127.0.0.1 on QEMU's host, from what ``info usernet`` says."""
    return {int(there): int(here) for here, there in _FORWARD.findall(usernet)}


def _interface(address: str) -> IPv4Interface:
    try:
        guest = IPv4Interface(address)
    except ValueError as error:
        raise BootError(f"{address} is no IPv4 address with its prefix, such as 192.0.2.10/24") from error
    if not 4 <= guest.network.prefixlen <= 31:
        raise BootError(f"a network of /{guest.network.prefixlen} cannot be made: give a prefix from 4 to 31")
    edges = (guest.network.network_address, guest.network.broadcast_address)
    if guest.ip in edges and guest.network.prefixlen < 31:  # RFC 3021
        raise BootError(f"{address} is the address of a network, and no guest's")
    return guest


def _around(guest: IPv4Interface) -> Iterator[str]:
    """A guest that asks DHCP gets the same address, and `hostfwd` leads to it. QEMU has the other addresses
    that it answers for, and its network is wide enough for all: the guest's own need not be."""
    wide = guest.network if guest.network.prefixlen <= 29 else guest.network.supernet(new_prefix=29)
    host = next(address for address in guest.network.hosts() if address != guest.ip)
    names = next(address for address in wide.hosts() if address not in (guest.ip, host))
    yield from (f"net={wide}", f"host={host}", f"dns={names}", f"dhcpstart={guest.ip}")


def _leased(network: IPv4Network) -> Iterator[str]:
    """As QEMU's own addresses are."""
    host, names, first = (network.network_address + number for number in (2, 3, 15))
    yield from (f"net={network}", f"host={host}", f"dns={names}", f"dhcpstart={first}")


def _free_networks(guest: IPv4Interface | None) -> Iterator[IPv4Network]:
    """Of its own for each card, and none that the guest has an address in: else its answers would leave by
    another card."""
    around = _OURS if guest is None or not guest.network.overlaps(_OURS) else _OTHERS
    return islice(around.subnets(new_prefix=24), 2, None)
