"""MAC addresses: who chooses which, and which a VM may not have.

vCenter assigns from 00:50:56:80:00:00 on, an ESXi host generates 00:0c:29:…, people choose from
00:50:56:00:00:00 to 00:50:56:3f:ff:ff or outside VMware's prefixes ("vSphere Networking", MAC Addresses).
"""

from __future__ import annotations

import itertools
from collections.abc import Container
from typing import Any

VMWARE, HOSTS = "00:50:56:", "00:0c:29:"


def likely_type(address: str) -> str:
    """Who chose it: manual, assigned or generated."""
    if is_assigned(address):
        return "assigned"
    return "generated" if address.lower().startswith(HOSTS) else "manual"


def is_assigned(address: str) -> bool:
    """Whether it is of vCenter's own range."""
    return address.lower().startswith(VMWARE) and 0x80 <= int(address[9:11], 16) <= 0xBF


def is_reserved(address: str) -> bool:
    """Whether it is VMware's and nobody may choose it: "conflicts with VMware reserved MACs" (vstellar)."""
    plain = address.lower()
    return plain.startswith(HOSTS) or (plain.startswith(VMWARE) and int(plain[9:11], 16) > 0x3F)


def settle(card: Any, taken: Container[str]) -> None:
    """Gives a network card its address. One of vCenter's or a host's choice is kept if it is of their range
    and free, else replaced; a chosen one is kept, taken or not (API reference, VirtualEthernetCard)."""
    address = (card.macAddress or "").lower()
    card.addressType = (card.addressType or ("manual" if address else "assigned")).lower()
    if card.addressType == "manual" and address:
        return
    in_range = is_assigned(address) if card.addressType == "assigned" else address.startswith(HOSTS)
    if not address or not in_range or address in taken:
        prefix = f"{VMWARE}80:" if card.addressType == "assigned" else f"{HOSTS}5a:"
        card.macAddress = next(
            one
            for number in itertools.count(1)
            if (one := f"{prefix}{number >> 8 & 0xFF:02x}:{number & 0xFF:02x}") not in taken
        )
