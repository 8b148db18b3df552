"""The network adapters of a restored VM: on which network each is, and with which MAC address."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import JsonValue

from steps.new_vm import identity
from steps.new_vm.devices import PCI, connectable, some
from steps.new_vm.placement import Placement, listed
from steps.saved_vm.configuration import Device, Saved, part, text
from steps.saved_vm.kinds import CARDS, said
from steps.vsphere.names import unescape
from steps.vsphere.taken import Taken
from steps.vsphere.targets import Net
from steps.vsphere.vm_spec import Change, NewDevice

_PASSED_ON = ("wakeOnLanEnabled", "uptCompatibilityEnabled")


def decide(
    saved: Saved,
    mapping: Mapping[str, str],
    names: Mapping[str, str],
    taken: Taken | None,
    placement: Placement | None,
    problems: list[str],
) -> tuple[tuple[NewDevice, ...], tuple[Change, ...]]:
    """`mapping`: networks by the names that they had, as the job says it; `names`: what the distributed port
    groups were called when the point was made, by key; `taken`: None gives new addresses."""
    made, changes, used = [], [], set()
    for device in saved.devices:
        if device.type not in CARDS:
            continue
        was = network_of(device, names)
        used.add(was)
        net = _net(device, was, mapping, placement, problems)
        address, change = identity.mac(device, taken)
        made.append(_card(device, net, address))
        changes += [_on(device, was, net), change]
    for name in sorted(set(mapping) - used):
        problems.append(f"the VM had no network adapter on '{name}'; it was on {listed(used)}")
    return tuple(made), tuple(changes)


def network_of(device: Device, names: Mapping[str, str]) -> str:
    """As people write it; of a port group whose name was not saved, its key."""
    key = text(part(device.backing, "port"), "portgroupKey")
    return unescape(
        names.get(key, key)
        if key
        else text(device.backing, "deviceName") or text(device.backing, "opaqueNetworkId")
    )


def _net(
    device: Device, was: str, mapping: Mapping[str, str], placement: Placement | None, problems: list[str]
) -> Net | None:
    if placement is None:
        return None
    wanted = mapping.get(was, was)
    fits = [one for one in placement.nets if wanted in (one.name, one.moref)]
    key, switch = (text(part(device.backing, "port"), name) for name in ("portgroupKey", "switchUuid"))
    if was not in mapping and key:  # the very one that it was on, whatever it is called now
        same = [one for one in placement.nets if one.portgroup == key]
        fits = [one for one in same if part(one.backing, "port").get("switchUuid") == switch] or fits
    if len(fits) == 1:
        return fits[0]
    there = listed(one.name for one in placement.nets)
    if fits:
        ids = listed(f"{one.name} ({one.moref})" for one in fits)
        problems.append(
            f"{device.label}: several networks are called {wanted}: write the moref of one: {ids}"
        )
    elif was in mapping:
        problems.append(
            f"{device.label} cannot be connected to network {wanted}: {placement.where} has {there}"
        )
    else:
        problems.append(
            f"{device.label} was on network {was or '(none)'}, and {placement.where} has {there}: name one "
            f"of them with `--network '{was}=NEW'`"
        )
    return None


def _card(device: Device, net: Net | None, address: str) -> NewDevice:
    start = part(device.json, "connectable").get("startConnected") is not False
    properties: dict[str, JsonValue] = {
        "backing": dict(net.backing) if net is not None else {},
        "connectable": connectable(device, start=start),
        "addressType": identity.address_type(address),
        **some(device.json, *_PASSED_ON),
    }
    if address:
        properties["macAddress"] = address
    return NewDevice(
        key=device.key, type=device.type, controller=PCI, unit=device.unit, properties=properties
    )


def _on(device: Device, was: str, net: Net | None) -> Change:
    start = part(device.json, "connectable").get("startConnected") is not False
    end = "" if start else ", not connected at power-on"
    before, after = (
        f"{said(device)} on {was}{end}",
        f"{said(device)} on {'?' if net is None else net.name}{end}",
    )
    return Change(what=device.label, was=before, becomes=after, kind="kept" if before == after else "changed")
