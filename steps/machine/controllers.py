"""Disk controllers of VMware, and those of QEMU that take their place."""

from __future__ import annotations

import re
from collections.abc import Mapping

from steps.values.machine import DiskController

PREFIXES: Mapping[str, str] = {
    "ParaVirtualSCSIController": "scsi",
    "VirtualLsiLogicController": "scsi",
    "VirtualLsiLogicSASController": "scsi",
    "VirtualBusLogicController": "scsi",
    "VirtualIDEController": "ide",
    "VirtualAHCIController": "sata",
    "VirtualNVMEController": "nvme",
}
"""How a VM's configuration file calls them: ``scsi0:1``."""

UNITS: Mapping[DiskController, int] = {
    "pvscsi": 64,
    # QEMU has eight ports there, and SeaBIOS looks at the first seven of them alone (tried).
    "mptsas1068": 7,
    "lsi53c895a": 7,
    "ich9-ahci": 6,
    "piix3-ide": 2,
    "nvme": 256,
}
"""How many disks one takes (QEMU 7.2: hw/scsi/vmw_pvscsi.c, mptsas.h, lsi53c895a.c, hw/ide/ich.c, nvme.h)."""

NAMES: Mapping[DiskController, str] = {
    "pvscsi": "PVSCSI",
    "mptsas1068": "LSI Logic SAS",
    "lsi53c895a": "LSI 53C895A",
    "ich9-ahci": "SATA",
    "piix3-ide": "IDE",
    "nvme": "NVMe",
}
"""As people call them."""

NOT_RECORDED = "what it was attached to is not in the saved configuration"

_SAME: Mapping[str, DiskController] = {
    "ParaVirtualSCSIController": "pvscsi",
    "VirtualLsiLogicSASController": "mptsas1068",
    "VirtualAHCIController": "ich9-ahci",
    "VirtualNVMEController": "nvme",
    "VirtualIDEController": "piix3-ide",
}

_HAS_SYM53C8XX = re.compile(
    r"(debian|ubuntu|suse|sles|oes|mandr|turboLinux|asianux[34]|fedora|rhel[2-6]|redhat|(centos|oracleLinux)6?_?(64)?Guest"
    r"|other(\d+x)?Linux)",
    re.IGNORECASE,
)


def closest(controller: str, guest: str) -> tuple[DiskController, str]:
    """What takes the place of the API's `controller` for a `guest` of vSphere's name, and why it is another
    one; nothing where it is the same."""
    if controller in _SAME:
        return _SAME[controller], ""
    if controller == "VirtualLsiLogicController":
        if _HAS_SYM53C8XX.match(guest):
            return "lsi53c895a", "QEMU has no LSI 53C1030; this one's driver is in the guest's kernel"
        return "ich9-ahci", "QEMU has no LSI 53C1030, and the guest has no driver for LSI's older ones"
    if controller == "VirtualBusLogicController":
        return "ich9-ahci", "QEMU has no BusLogic controller"
    return "ich9-ahci", NOT_RECORDED
