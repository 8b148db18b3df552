"""What a device rests on: a network, a file of a datastore."""

from __future__ import annotations

import copy
import re
from pathlib import Path
from typing import Any

from steps.lab.simulator.datastore import Datastore
from steps.lab.simulator.stored_machine import Surroundings
from steps.lab.simulator.vmodl import fault, support, vim, vmodl

device: Any = vim.vm.device

_PATH = re.compile(r"\[([^\]]+)\] ?(.*)")


def datastore_path(text: str, place: Surroundings) -> tuple[Datastore, str]:
    """``[ds1] dir/x.vmdk`` → the datastore and ``dir/x.vmdk``. Raises InvalidDatastorePath, and
    InvalidDatastore for one that the datacenter does not have."""
    match = _PATH.fullmatch(text)
    if match is None or ".." in match[2].split("/"):
        raise fault(vim.fault.InvalidDatastorePath, f"Invalid datastore path '{text}'.", datastorePath=text)
    store = place.datastores.get(match[1])
    if store is None:
        raise fault(vim.fault.InvalidDatastore, f"Invalid datastore format '{match[1]}'.", name=match[1])
    return store, match[2]


def file_of(text: str, place: Surroundings) -> Path:
    """Raises InvalidDatastorePath, InvalidDatastore."""
    store, path = datastore_path(text, place)
    return store.directory / path


def network(backing: Any, place: Surroundings, index: int) -> Any:
    """The backing of a network card with its network found: by the name of a port group, whose moref is
    ignored (API reference, NetworkBackingInfo), or by switch and key of a distributed one. Raises
    InvalidDeviceBacking."""
    made, card = copy.copy(backing), device.VirtualEthernetCard
    if isinstance(made, card.NetworkBackingInfo) and (found := place.networks.get(made.deviceName)):
        if type(found) is vim.Network:
            made.network = found
            return made
    elif isinstance(made, card.DistributedVirtualPortBackingInfo):
        asked = made.port
        if place.portgroups.get(asked.portgroupKey) == asked.switchUuid:
            return made
    raise fault(vim.fault.InvalidDeviceBacking, f"Invalid backing for device '{index}'.", deviceIndex=index)


def check_image(backing: Any, place: Surroundings, index: int) -> None:
    """Of a CD-ROM drive. One that is not there is an InvalidDeviceSpec whose message names VirtualCdrom
    (bareos-fd-vmware looks for it)."""
    if not isinstance(backing, device.VirtualCdrom.IsoBackingInfo) or not backing.fileName:
        return
    if not file_of(backing.fileName, place).is_file():
        made = fault(
            vim.fault.InvalidDeviceSpec, f"Invalid configuration for device '{index}'.", deviceIndex=index
        )
        made.faultMessage = [  # type: ignore[attr-defined]
            vmodl.LocalizableMessage(
                key="msg.cdromdisk.open",
                arg=[support.GetVmodlType("vmodl.KeyAnyValue")(key="1", value="VirtualCdrom")],
                message=f"The file {backing.fileName} cannot be opened.",
            )
        ]
        raise made
