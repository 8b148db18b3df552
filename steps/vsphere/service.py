"""Who answers at the other end: a vCenter, or an ESXi host by itself."""

from __future__ import annotations

from typing import Any

from steps.vsphere import vmomi
from steps.vsphere.errors import VSphereError
from steps.vsphere.faults import explain
from steps.vsphere.session import Session

ESXI_HOST = "ha-host"
"""The moref of itself on every ESXi host (govmomi, simulator/esx/host_system.go, captured from one)."""

_UUID = "hardware.systemInfo.uuid"


def identify(session: Session, doing: str) -> str:
    """about.instanceUuid of a vCenter. An ESXi host has none ("a globally unique identifier associated with
    this service instance", optional): there the uuid of its hardware takes its place, which stays over a new
    installation. Raises VSphereError where neither can be read."""
    about = session.service("about")
    if about.instanceUuid:
        return str(about.instanceUuid)
    if about.apiType != "HostAgent":
        raise VSphereError(
            f"{doing} failed: {about.fullName} does not say its instance uuid (about.instanceUuid)"
        )
    of: Any = vmomi.vmodl.query.PropertyCollector
    spec = of.FilterSpec(
        objectSet=[of.ObjectSpec(obj=session.object(vmomi.vim.HostSystem, ESXI_HOST))],
        propSet=[of.PropertySpec(type=vmomi.vim.HostSystem, pathSet=[_UUID])],
    )
    found = session.service("propertyCollector").RetrievePropertiesEx([spec], of.RetrieveOptions())
    for content in found.objects if found is not None else ():
        for missing in content.missingSet or ():
            raise explain(missing.fault, doing)
        for entry in content.propSet or ():
            return str(entry.val).lower()
    raise VSphereError(
        f"{doing} failed: ESXi host {about.fullName} does not say the uuid of its hardware ({_UUID}), and "
        "has no other by which its VMs are told from those of other hosts"
    )
