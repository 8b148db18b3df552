"""Which names, uuids and MAC addresses VMs of a vCenter have. What could not be read is told beside what was:
it may be taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from steps.vsphere import vmomi
from steps.vsphere.client import Client
from steps.vsphere.names import escape, unescape
from steps.vsphere.properties import contents, properties_of, view
from steps.vsphere.session import Session

_DEVICES = "config.hardware.device"


@dataclass(frozen=True)
class Taken:
    """By what they are of: the VM that has it, in words (``web1 (vm-16)``)."""

    instance_uuids: Mapping[str, str] = field(default_factory=dict)
    bios_uuids: Mapping[str, str] = field(default_factory=dict)
    macs: Mapping[str, str] = field(default_factory=dict)
    """By address in lower case."""
    unread: tuple[str, ...] = ()
    """VMs that did not tell all of it."""


def read(client: Client) -> Taken:
    """Of all VMs, which takes a while where there are thousands: no property has the MAC addresses without
    all other devices. Raises Unreachable, VSphereError."""
    doing = "reading the uuids and MAC addresses of all VMs"
    wanted = ("name", "config.instanceUuid", "config.uuid", _DEVICES)
    machine = vmomi.vim.VirtualMachine

    def work(session: Session) -> Taken:
        instance: dict[str, str] = {}
        bios: dict[str, str] = {}
        macs: dict[str, str] = {}
        unread: list[str] = []
        with view(session, (machine,)) as objects:
            # Page by page: of each VM next to nothing is kept.
            for content in contents(session, objects, {machine: wanted}, skip_gone=True):
                seen, moref = properties_of(content), str(content.obj._moId)
                named = f"{unescape(str(seen.get('name', '')))} ({moref})".strip()
                if _DEVICES not in seen or not seen.get("config.instanceUuid"):
                    unread.append(named)
                instance[str(seen.get("config.instanceUuid", "")).lower()] = named
                bios[str(seen.get("config.uuid", "")).lower()] = named
                macs |= dict.fromkeys(_macs(seen.get(_DEVICES, ())), named)
        return Taken(instance, bios, macs, tuple(unread))

    return client.ask(("identities of all VMs",), doing, work)


def _macs(devices: Any) -> list[str]:
    card = vmomi.vim.vm.device.VirtualEthernetCard
    return [str(one.macAddress).lower() for one in devices if isinstance(one, card) and one.macAddress]


_KINDS = {"VirtualMachine": "VM", "VirtualApp": "vApp", "Folder": "folder"}
"""As people call what may be in a folder of VMs."""


def name_in(client: Client, folder: str, name: str) -> str:
    """What has that name in the folder (a moref), as ``VM vm-16``; empty: nothing. A name is
    unique among all that is in a folder, whatever it is (API reference, ManagedEntity.name)."""

    def work(session: Session) -> str:
        found = session.service("searchIndex").FindChild(
            entity=session.object(vmomi.vim.Folder, folder), name=escape(name)
        )
        if found is None:
            return ""
        kind = type(found).__name__.rpartition(".")[2]
        return f"{_KINDS.get(kind, kind)} {found._moId}"

    return client.ask(("child of", folder, name), f"looking whether there is a {name} already", work)


def hardware_versions(client: Client, cluster: str, host: str | None) -> tuple[str, ...]:
    """Those of virtual hardware in which a VM can be made there (``vmx-19``); none where that is not told."""
    doing = "asking for the versions of virtual hardware"

    def work(session: Session) -> tuple[str, ...]:
        compute = session.object(vmomi.vim.ComputeResource, cluster)
        collector: Any = vmomi.vmodl.query.PropertyCollector
        specs = [collector.ObjectSpec(obj=compute)]
        browser = next(
            (
                properties_of(content).get("environmentBrowser")
                for content in contents(session, specs, {vmomi.vim.ComputeResource: ("environmentBrowser",)})
            ),
            None,
        )
        if browser is None:
            return ()
        told = session.object(vmomi.vim.EnvironmentBrowser, browser._moId).QueryConfigOptionDescriptor() or ()
        return tuple(
            str(one.key)
            for one in told
            if one.createSupported is not False
            and (host is None or not one.host or host in [found._moId for found in one.host])
        )

    return client.ask(("hardware versions", cluster, host), doing, work)
